"""``graphneurons wiring``: who feeds whom in a model, or around one layer or neuron."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import click

from graphneurons.cli.options import Given, model_options
from graphneurons.errors import GraphNeuronsError, UsageError

if TYPE_CHECKING:
    from graphneurons.analysis import Analysis
    from graphneurons.wiring.records import Source

FARTHEST = 64


@click.command("wiring", short_help="Who feeds whom: layers, synapses, junctions.", no_args_is_help=True)
@click.argument("model", type=click.Path())
@click.argument("target", required=False, metavar="[LAYER[:NEURON]]")
@click.option("--up", type=click.IntRange(0, FARTHEST), metavar="N", help="Steps back from LAYER.  [default: 1]")
@click.option("--down", type=click.IntRange(0, FARTHEST), metavar="N", help="Steps on from LAYER.  [default: 1]")
@click.option("--groups", is_flag=True, help="Which axes of which weights are cut, permuted or sharded together.")
@click.option("--json", "as_json", is_flag=True, help="For programs: exact, index by index.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write to FILE instead of standard output.")
@model_options
def command(
    model: str,
    target: str | None,
    up: int | None,
    down: int | None,
    groups: bool,
    as_json: bool,
    output: str | None,
    given: Given,
) -> int:
    """Says which upstream neurons feed every synapse, and which layers every neuron feeds.

    Without LAYER: an overview of all layers and junctions. LAYER is a layer's id, the name of its op or of its output,
    or input:NAME, lookup:ID, junction:ID; LAYER:NEURON is one neuron of it. The model is read, never run.

    \b
    Examples:
      graphneurons wiring model.onnx
      graphneurons wiring model.onnx blocks.3.mlp.fc1 --up 3
      graphneurons wiring model.onnx blocks.3.mlp.fc1:17 --down 2
      graphneurons wiring model.onnx --groups
      graphneurons wiring model.onnx --groups blocks.3.mlp.fc1
      graphneurons wiring model.onnx --json -o wiring.json

    Exit code: 0, or 2 for any error.
    """
    from graphneurons.cli.failing import report, warn
    from graphneurons.cli.writing import check_target, deliver, progress

    if target is None and (up is not None or down is not None):
        raise click.UsageError("--up and --down need a LAYER")
    if groups and (up is not None or down is not None):
        raise click.UsageError("--up and --down do not go with --groups")
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
            gc.freeze()
            steps = (1 if up is None else up, 1 if down is None else down)
            text = (
                _coupled(analysis, target, as_json, output)
                if groups
                else _rendered(analysis, target, *steps, as_json, output)
            )
    except Exception as error:
        report(error, model)
        return 2
    finally:
        gc.unfreeze()
    warn(model, analysis.notices)
    deliver(text, output)
    return 0


def _coupled(analysis: Analysis, target: str | None, as_json: bool, output: str | None) -> str:
    from graphneurons.cli.writing import view_for
    from graphneurons.reports.coupled import coupled, groups_around, groups_record
    from graphneurons.reports.json import dumps_record
    from graphneurons.reports.lines import painted, plain
    from graphneurons.reports.links import wiring_record

    groups = analysis.groups
    if target is not None:
        source, neuron = _found(analysis, target)
        if neuron is not None:
            raise UsageError(f"--groups are of all neurons of a layer; leave :{neuron} out", file=analysis.model.path)
        groups = groups_around(analysis, source.id)
    if as_json:
        return dumps_record(wiring_record(analysis) | {"groups": groups_record(groups)})
    view, colour = view_for(output is None)
    return "".join((painted if colour else plain)(coupled(analysis, groups, view)))


def _rendered(analysis: Analysis, target: str | None, up: int, down: int, as_json: bool, output: str | None) -> str:
    from graphneurons.cli.writing import view_for
    from graphneurons.reports.around import around, look_around
    from graphneurons.reports.json import dumps_record
    from graphneurons.reports.lines import painted, plain
    from graphneurons.reports.links import around_record, wiring_record
    from graphneurons.reports.wiring import overview

    if target is None:
        if as_json:
            return dumps_record(wiring_record(analysis))
        view, colour = view_for(output is None)
        return "".join((painted if colour else plain)(overview(analysis, view)))
    source, neuron = _found(analysis, target)
    seen = look_around(analysis.wiring, source, neuron, up, down)
    if as_json:
        return dumps_record(around_record(analysis, seen))
    view, colour = view_for(output is None)
    return "".join((painted if colour else plain)(around(analysis, seen, view)))


def _found(analysis: Analysis, target: str) -> tuple[Source, int | None]:
    from graphneurons.cli.targets import find_target

    try:
        return find_target(analysis, target)
    except UsageError as error:
        raise UsageError(error.message, file=analysis.model.path, where=error.where) from None
