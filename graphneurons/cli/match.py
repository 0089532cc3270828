"""``graphneurons match``: which layer of one model is which layer of another, and what changed on the way."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from graphneurons.matching import Match


@click.command("match", short_help="Which layer of one model is which layer of another.", no_args_is_help=True)
@click.argument("a", metavar="A", type=click.Path())
@click.argument("b", metavar="B", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(a: str, b: str, as_json: bool) -> int:
    """Pairs the layers of the models A and B, by the contents of their weights and by their position.

    Says of every pair what is different: weights are renamed, transposed, reordered (gates), folded (a normalisation),
    changed, split or merged (packed query, key and value), retyped, tied or untied. A and B are ONNX files or exported
    programs (.pt2).

    \b
    Examples:
      graphneurons match model.pt2 model.onnx
      graphneurons match before.onnx after.onnx --json

    Exit code: 0 if every layer has a partner and no synapse changed, 1 if not, 2 if a model could not be read.
    """
    from graphneurons.analyzing import analyze
    from graphneurons.cli.failing import report
    from graphneurons.cli.writing import emit, progress
    from graphneurons.matching import match

    analyses = []
    for path in (a, b):
        try:
            with progress(f"analyzing {path}"):
                analyses.append(analyze(path))
        except Exception as error:
            report(error, path)
            return 2
    try:
        with progress("comparing"):
            found = match(*analyses)
    except Exception as error:
        report(error, a)
        return 2
    emit([_as_json(found, a, b) if as_json else "".join(f"{line}\n" for line in _lines(found))])
    return 0 if found.complete and not any("changed" in pair.changes for pair in found.pairs) else 1


def _lines(found: Match) -> list[str]:
    from graphneurons.errors import printable
    from graphneurons.reports.names import neutral

    def name(text: str) -> str:
        return neutral(printable(text))

    rows = [(name(pair.a), name(pair.b), ", ".join(pair.changes) or "the same") for pair in found.pairs]
    rows += [(name(layer), "-", "only in A") for layer in found.only_a]
    rows += [("-", name(layer), "only in B") for layer in found.only_b]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    lines = [f"  {left:<{widths[0]}}  {right:<{widths[1]}}  {what}" for left, right, what in rows]
    counts = Counter(change for pair in found.pairs for change in pair.changes)
    told = ", ".join(f"{count} {change}" for change, count in counts.most_common()) or "no differences"
    lines += ["", f"  {len(found.pairs)} pairs: {told}; {len(found.only_a)} only in A, {len(found.only_b)} only in B"]
    return lines


def _as_json(found: Match, a: str, b: str) -> str:
    from graphneurons.errors import printable

    pairs = [{"a": pair.a, "b": pair.b, "by": pair.by, "changes": list(pair.changes)} for pair in found.pairs]
    whole = {
        "a": printable(a),
        "b": printable(b),
        "pairs": pairs,
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
    }
    return json.dumps(whole, indent=2, ensure_ascii=True) + "\n"
