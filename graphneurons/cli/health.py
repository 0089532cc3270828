"""``graphneurons health``: statistics of the weights themselves, neuron by neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from graphneurons.cli.options import Given, model_options
from graphneurons.errors import GraphNeuronsError

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis


@click.command("health", short_help="Statistics of the weights of every neuron.", no_args_is_help=True)
@click.argument("model", type=click.Path())
@click.argument("layer", required=False, metavar="[LAYER]")
@click.option("--top", type=click.IntRange(1), metavar="N", help="The N oddest layers, or largest neurons of LAYER.")
@click.option("--json", "as_json", is_flag=True, help="For programs; with LAYER, every number of every neuron.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write to FILE instead of standard output.")
@model_options
def command(
    model: str,
    layer: str | None,
    top: int | None,
    as_json: bool,
    output: str | None,
    given: Given,
) -> int:
    """Reads every weight once and says how its neurons are: dead, with NaN or infinities, constant, copied, how large,
    how excitatory.

    LAYER is a layer's id, the name of its op or of its output. The model is read, never run; memory does not grow with
    the size of the weights.

    \b
    Examples:
      graphneurons health model.onnx
      graphneurons health model.onnx --top 10
      graphneurons health model.onnx blocks.3.mlp.fc1
      graphneurons health model.onnx --json -o health.json

    Exit code: 0 whatever was found, 2 for any error.
    """
    from graphneurons.cli.failing import report, warn
    from graphneurons.cli.writing import check_target, deliver, progress

    if as_json and top is not None:
        raise click.UsageError("--top shapes tables; JSON always holds everything")
    try:
        if output is not None:
            check_target(output, [model])
        opening = given.understood()
    except (GraphNeuronsError, OSError) as error:
        report(error, "")
        return 2
    from graphneurons.cli.analyze import analysis_of

    try:
        with progress(f"analyzing {model}"):
            analysis = analysis_of(model, *opening)
        text = _rendered(analysis, layer, top, as_json, output)
    except Exception as error:
        report(error, model)
        return 2
    warn(model, analysis.notices)
    deliver(text, output)
    return 0


def _rendered(analysis: Analysis, layer: str | None, top: int | None, as_json: bool, output: str | None) -> str:
    from dataclasses import replace

    from graphneurons.cli.bars import Bar
    from graphneurons.cli.writing import view_for
    from graphneurons.finding import find_layer
    from graphneurons.health import scan
    from graphneurons.reports.health import health_record, one_layer, overview
    from graphneurons.reports.json import dumps_record
    from graphneurons.reports.lines import painted, plain

    chosen = None if layer is None else [find_layer(analysis, layer).id]
    with Bar("reading weights") as bar:
        health = scan(analysis, layers=chosen, progress=bar.show)
    if as_json:
        return dumps_record(health_record(analysis, health, everything=layer is not None))
    view, colour = view_for(output is None)
    view = replace(view, top=top)
    lines = overview(analysis, health, view) if layer is None else one_layer(analysis, health, view)
    return "".join((painted if colour else plain)(lines))
