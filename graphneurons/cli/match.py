"""``graphneurons match``: which layer of one model is which layer of another, and what changed on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from graphneurons.cli.options import Given, model_options
from graphneurons.errors import UsageError

if TYPE_CHECKING:
    from graphneurons.axes.rules.site import Shape
    from graphneurons.graph import ModelGraph
    from graphneurons.matching import Match


@click.command("match", short_help="Which layer of one model is which layer of another.", no_args_is_help=True)
@click.argument("a", metavar="A", type=click.Path())
@click.argument("b", metavar="B", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write to FILE instead of standard output.")
@model_options
def command(a: str, b: str, as_json: bool, output: str | None, given: Given) -> int:
    """Pairs the layers of the models A and B, by what their weights hold, by name and by their place in the wiring.

    Says of every pair what is different: weights are renamed, transposed, reordered (gates), folded (a normalisation),
    split or merged (packed query, key and value), unrolled or rolled (steps of a recurrent layer), retyped, tied or
    untied; or their synapses are others: permuted, scaled or changed by more than rounding.

    A and B are ONNX files, exported programs (.pt2), or with --trust-code package.module:factory, as for analyze.
    --shape and --dim go to the model that has an input or a dimension of that name; weights are read in pieces.

    \b
    Examples:
      graphneurons match model.pt2 model.onnx
      graphneurons match before.onnx after.onnx --json
      graphneurons match my.models:small model.onnx --input 1,3,224,224 --trust-code

    Exit code: 0 if every layer has a partner and no synapse is another, 1 if not, 2 if a model could not be read.
    """
    from graphneurons.analyzing import analyze
    from graphneurons.cli.analyze import graph_of
    from graphneurons.cli.failing import report, warn
    from graphneurons.cli.writing import check_target, deliver, progress
    from graphneurons.matching import OTHER_SYNAPSES, match

    at, graphs, analyses = "", [], []
    try:
        if output is not None:
            check_target(output, [a, b])
        shapes, dims, examples, trusted = given.understood()
        for at in (a, b):
            with progress(f"loading {at}"):
                graphs.append(graph_of(at, examples, trusted))
        at = ""
        _check_names(graphs, shapes, dims)
        for at, graph in zip((a, b), graphs, strict=True):
            with progress(f"analyzing {at}"):
                analyses.append(analyze(graph, shapes=_shapes_of(graph, shapes), dims=_dims_of(graph, dims)))
        at = f"{a}, {b}"
        with progress("comparing"):
            found = match(*analyses)
    except Exception as error:
        report(error, at)
        return 2
    for path, analysis in zip((a, b), analyses, strict=True):
        warn(path, analysis.notices)
    deliver(_as_json(found, a, b) if as_json else "".join(f"{line}\n" for line in _lines(found)), output)
    return 0 if found.complete and not any(OTHER_SYNAPSES & {*pair.changes} for pair in found.pairs) else 1


def _shapes_of(graph: ModelGraph, shapes: Mapping[str, Shape]) -> Mapping[str, Shape]:
    """Those of its own inputs; one without a name is for both models."""
    from graphneurons.cli.arguments import ONLY_INPUT, shapes_for

    names = {ONLY_INPUT, *(value.name for value in graph.inputs)}
    return shapes_for(graph.inputs, {name: shape for name, shape in shapes.items() if name in names})


def _dims_of(graph: ModelGraph, dims: Mapping[str, int]) -> Mapping[str, int]:
    from graphneurons.axes.dimensions import dimensions_of

    symbols, parts = dimensions_of(graph)
    names = symbols | parts
    return {name: size for name, size in dims.items() if name in names}


def _check_names(graphs: Sequence[ModelGraph], shapes: Mapping[str, Shape], dims: Mapping[str, int]) -> None:
    """Raises `UsageError` for a name that neither model has."""
    from graphneurons.axes.dimensions import dimensions_of

    inputs = {value.name for graph in graphs for value in graph.inputs}
    for name in shapes:
        if name and name not in inputs:
            listed = ", ".join(sorted(inputs)) or "none"
            raise UsageError(f"no input of either model is called {name!r}; the inputs are {listed}")
    known = [dimensions_of(graph) for graph in graphs]
    for name in dims:
        if not any(name in names for both in known for names in both):
            listed = ", ".join(sorted(frozenset[str]().union(*(symbols for symbols, _ in known)))) or "none"
            raise UsageError(
                f"no dimension of either model is called {name!r}; the dynamic dimensions are: {listed}"
            )


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
