"""``graphneurons analyze``: which axis is neurons, which are synapses, for every weight of some models."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from graphneurons.cli.options import Given, model_options
from graphneurons.errors import UsageError

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis
    from graphneurons.graph import ModelGraph
    from graphneurons.load.factory import Example

Format = Literal["text", "json", "csv", "markdown"]


@dataclass(frozen=True, slots=True)
class Request:
    """What to show of every model, and how."""

    format: Format
    by: Literal["layer", "scope", "op"]
    depth: int | None
    top: int | None
    everything: bool
    circuits: bool
    shapes: Mapping[str, tuple[int, ...]]
    dims: Mapping[str, int]
    examples: Sequence[Example] = ()
    trusted: bool = False


@click.command("analyze", short_help="Neurons and synapses of every weight of ONNX models.", no_args_is_help=True)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=click.Path())
@click.option(
    "--by",
    type=click.Choice(["layer", "scope", "op"]),
    default="layer",
    show_default=True,
    help="One line per layer, per module path, or per op type.",
)
@click.option("--depth", type=click.IntRange(1, 64), help="Levels of module paths to show.  [default: what fits]")
@click.option(
    "--top", type=click.IntRange(1), help="Only the N largest, by synapses; the rest in one line.", metavar="N"
)
@click.option("--all", "everything", is_flag=True, help="Also list lookups, modulators and all unlabelled weights.")
@click.option(
    "--attention",
    type=click.Choice(["projections", "circuits"]),
    default="projections",
    show_default=True,
    help="Count query, key, value and output apart, or query with key and value with output.",
)
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@click.option("--format", type=click.Choice(["text", "json", "csv", "markdown"]), help="[default: text]")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write to FILE instead of standard output.")
@model_options
def command(
    models: tuple[str, ...],
    by: Literal["layer", "scope", "op"],
    depth: int | None,
    top: int | None,
    everything: bool,
    attention: Literal["projections", "circuits"],
    as_json: bool,
    format: Format | None,
    output: str | None,
    given: Given,
) -> int:
    """Says for every weight which axis is neurons and which are synapses, and counts them.

    MODEL is an ONNX file, or a directory: then every .onnx file below it; or an exported program of PyTorch (.pt2).
    Models are read, never run; weights kept in other files need not be there. With --trust-code, MODEL may also be
    package.module:factory: that code is imported and called, and the nn.Module it returns is traced by PyTorch.

    \b
    Examples:
      graphneurons analyze model.onnx
      graphneurons analyze model.onnx --by scope --depth 2
      graphneurons analyze model.onnx --top 10 --all
      graphneurons analyze model.onnx --json -o report.json
      graphneurons analyze models/ --format csv > weights.csv
      graphneurons analyze model.onnx --shape pixels=1,3,224,224 --dim seq=128
      graphneurons analyze model.pt2
      graphneurons analyze my.models:small --input 1,3,224,224 --trust-code

    Exit code: 0 if all models were analyzed, 2 if not.
    """
    from graphneurons.cli.arguments import find_models

    if as_json and format not in (None, "json"):
        raise click.UsageError(f"--json and --format {format} exclude each other")
    chosen: Format = "json" if as_json else format or "text"
    if chosen == "json" and (by != "layer" or depth or top or everything):
        raise click.UsageError("--by, --depth, --top and --all shape tables; JSON always holds everything")
    if depth and by != "scope":
        raise click.UsageError("--depth needs --by scope")
    if top and by == "scope":
        raise click.UsageError("--top goes with --by layer and --by op; use --depth with --by scope")
    try:
        request = Request(
            chosen,
            by,
            depth,
            top,
            everything,
            attention == "circuits",
            *given.understood(),
        )
        paths = find_models(models)
        if output is not None:
            from graphneurons.cli.writing import check_target

            check_target(output, paths)
    except (UsageError, OSError) as error:
        from graphneurons.cli.failing import report

        report(error, "")
        return 2
    several = len(models) > 1 or os.path.isdir(models[0])
    return _all(paths, request, several, output)


def _all(paths: Sequence[str], request: Request, several: bool, output: str | None) -> int:
    from graphneurons.cli.failing import complain
    from graphneurons.cli.writing import emit, replace

    failed: list[str] = []
    texts = _texts(paths, request, output is None, failed)
    if request.format == "json":
        from graphneurons.reports.json import dumps_many

        made = list(texts)
        texts = iter([dumps_many(made)] if several and made else made)
    if output is None:
        for text in texts:
            emit([text])
        return 2 if failed else 0
    whole = "".join(texts)
    if failed:
        if several:
            complain(f"{output}: not written, as {len(failed)} of {len(paths)} models could not be analyzed")
        return 2
    replace(output, whole)
    return 0


def _texts(paths: Sequence[str], request: Request, on_screen: bool, failed: list[str]) -> Iterator[str]:
    """One text per model that can be analyzed; the others are reported on stderr and noted in ``failed``."""
    from graphneurons.cli.failing import report, warn
    from graphneurons.cli.writing import progress

    done = 0
    for number, path in enumerate(paths, 1):
        try:
            count = f" ({number} of {len(paths)})" if len(paths) > 1 else ""
            with progress(f"analyzing {path}{count}"):
                analysis = analysis_of(path, request.shapes, request.dims, request.examples, request.trusted)
                # The collector need not walk a large graph again and again while its report is written.
                gc.freeze()
                text = _rendered(analysis, request, on_screen, first=done == 0)
        except Exception as error:
            report(error, path)
            failed.append(path)
            continue
        finally:
            gc.unfreeze()
        warn(path, analysis.notices)
        del analysis
        done += 1
        yield text


def analysis_of(
    path: str,
    shapes: Mapping[str, tuple[int, ...]],
    dims: Mapping[str, int],
    examples: Sequence[Example] = (),
    trusted: bool = False,
) -> Analysis:
    """Loads and analyzes one file, or what one factory returns."""
    from graphneurons.analyzing import analyze
    from graphneurons.cli.arguments import shapes_for

    graph = graph_of(path, examples, trusted)
    return analyze(graph, shapes=shapes_for(graph.inputs, shapes), dims=dims)


def graph_of(path: str, examples: Sequence[Example] = (), trusted: bool = False) -> ModelGraph:
    """Loads one file, or what one factory returns."""
    from graphneurons.cli.arguments import looks_like_factory
    from graphneurons.load import load

    if looks_like_factory(path):
        from graphneurons.load.factory import from_factory

        return from_factory(path, examples, trusted=trusted)
    return load(path)


def _rendered(analysis: Analysis, request: Request, on_screen: bool, *, first: bool) -> str:
    from graphneurons.circuits import find_circuits, merged

    circuits = find_circuits(analysis) if request.circuits else None
    if request.format == "json":
        from graphneurons.reports.json import dumps

        return dumps(analysis, circuits)
    if circuits is not None:
        analysis = merged(analysis, circuits)
    from graphneurons.cli.writing import view_for

    view, colour = view_for(on_screen, request.by, request.depth, request.top, request.everything)
    if request.format == "csv":
        from graphneurons.reports.csv import as_csv

        return as_csv(analysis, view, header=first)
    gap = "" if first else "\n"
    if request.format == "markdown":
        from graphneurons.reports.markdown import as_markdown

        return gap + as_markdown(analysis, view)
    from graphneurons.reports.lines import painted, plain
    from graphneurons.reports.text import lines

    return gap + "".join((painted if colour else plain)(lines(analysis, view)))
