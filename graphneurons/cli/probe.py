"""``graphneurons probe``: what the neurons of a layer respond to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from graphneurons.cli.options import Given, model_options
from graphneurons.errors import GraphNeuronsError, UsageError

if TYPE_CHECKING:
    from graphneurons.probing.records import ProbeReport

METHODS = ("single", "linear", "nonlinear")


@click.command("probe", short_help="What the neurons of a layer respond to: learned probes.", no_args_is_help=True)
@click.argument("model", type=click.Path())
@click.argument("layer")
@click.option("--data", required=True, type=click.Path(), metavar="X.npz", help="Inputs by name, rows first.")
@click.option("--labels", required=True, type=click.Path(), metavar="Y.npz", help="Concepts by name, a label per row.")
@click.option("--concept", "concepts", multiple=True, metavar="NAME", help="Only this one of the labels; repeatable.")
@click.option("--groups", metavar="G.npy", type=click.Path(), help="Which rows belong together: never split apart.")
@click.option("--neurons", metavar="WHICH", help="Only these neurons: 0,5,10:20.")
@click.option(
    "--probe", "methods", multiple=True, type=click.Choice(METHODS),
    help="One neuron, many, or any function of many; repeatable.  [default: single and linear]",
)  # fmt: skip
@click.option("--after/--before", default=True, help="Read behind the activation, or before it.  [default: after]")
@click.option(
    "--pool", "pooling", type=click.Choice(["mean", "max", "last", "keep"]), default="mean", show_default=True,
    help="Of positions (tokens, pixels, steps): one sample from all of them, or keep each as a sample.",
)  # fmt: skip
@click.option("--penalty", type=click.Choice(["l2", "l1"]), default="l2", show_default=True, help="On synapses.")
@click.option("--folds", type=click.IntRange(2, 100), default=5, show_default=True, help="Of cross-validation.")
@click.option("--level", type=click.FloatRange(0.0001, 0.5), default=0.05, show_default=True, help="Of corrected p.")
@click.option("--untrained/--no-untrained", default=True, help="Also run a copy with weights drawn anew, as a control.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Repeats all of it.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Rows run at once.  [default: what fits]")
@click.option("--top", type=click.IntRange(1), metavar="N", help="Neurons listed.  [default: 16]")
@click.option("--json", "as_json", is_flag=True, help="For programs: everything.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write to FILE instead of standard output.")
@click.option("--picture", type=click.Path(), metavar="FILE", help="Also draw the linear probe (.svg, .png, ...).")
@click.option("--histogram", type=click.Path(), metavar="FILE", help="Also draw what neurons put out, class by class.")
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True, help="Of pictures.")
@model_options
def command(
    model: str,
    layer: str,
    data: str,
    labels: str,
    concepts: tuple[str, ...],
    groups: str | None,
    top: int | None,
    as_json: bool,
    output: str | None,
    picture: str | None,
    histogram: str | None,
    theme: str,
    given: Given,
    **choices: Any,
) -> int:
    """Says whether concepts can be read from the neurons of LAYER: by one of them, by many, linearly or not.

    The model is cut at LAYER and run (by onnxruntime) on the rows of --data; probes learn to tell from the activations
    what --labels say of each row. Scores are of rows held out, and count only beyond their controls: shuffled labels,
    random neurons, and a copy of the model with its weights drawn anew. Needs pip install "graphneurons[probe]".

    \b
    Examples:
      graphneurons probe model.onnx blocks.3.mlp.fc1 --data x.npz --labels y.npz
      graphneurons probe model.onnx fc1 --data x.npz --labels y.npz --concept loop --probe nonlinear
      graphneurons probe model.onnx conv2 --data x.npz --labels y.npz --pool keep --groups subject.npy
      graphneurons probe model.onnx fc1 --data x.npz --labels y.npz --picture probe.svg --histogram neurons.svg
      graphneurons probe model.onnx fc1 --data x.npz --labels y.npz --json -o probe.json

    Exit code: 0 whatever was found, 2 for any error, and then nothing is written.
    """
    from graphneurons.cli.failing import report, warn
    from graphneurons.cli.writing import check_target, deliver, progress

    if as_json and top is not None:
        raise click.UsageError("--top shapes tables; JSON always holds everything")
    try:
        for target in (output, picture, histogram):
            if target is not None:
                check_target(target, [model, data, labels])
        opening = given.understood()
        _drawable(picture, histogram)
        told = _labels(labels, concepts, is_drawn=picture is not None or histogram is not None)
    except (GraphNeuronsError, OSError) as error:
        report(error, "")
        return 2
    try:
        with progress(f"analyzing {model}"):
            subject = _subject(model, opening)
        asked = choices["methods"] or ("single", "linear")
        choices["methods"] = tuple(method for method in METHODS if method in asked)
        found = _probed(subject, layer, data, told, groups, choices)
        drawings = [
            (target, draw(theme=theme))
            for target, draw in ((picture, found.picture), (histogram, found.histogram))
            if target is not None
        ]
        text = _rendered(found, top, as_json, output)
    except Exception as error:
        report(error, model)
        return 2
    warn(model, getattr(subject, "notices", ()))
    for target, drawing in drawings:
        try:
            drawing.save(target)
        except (GraphNeuronsError, OSError) as error:
            report(error, target)
            return 2
    deliver(text, output)
    return 0


def _drawable(*targets: str | None) -> None:
    """Raises where a picture could not be written: said before any work is done."""
    from graphneurons.views.drawing import format_of
    from graphneurons.views.rendering import choose

    for target in targets:
        if target is not None and (ending := format_of(target)) != "dot":
            choose(ending, "")


def _labels(path: str, concepts: tuple[str, ...], is_drawn: bool) -> dict[str, Any]:
    """The labels of the concepts asked about."""
    from graphneurons.probing.concepts import read_labels

    told = read_labels(path)
    missing = [name for name in concepts if name not in told]
    if missing:
        raise UsageError(f"holds no labels called {missing[0]!r}; there are {', '.join(told)}", file=path)
    if is_drawn and len(concepts or told) > 1:
        raise UsageError(f"a picture is of one concept; name it with --concept, one of {', '.join(told)}", file=path)
    return {name: told[name] for name in concepts or told}


def _subject(model: str, opening: Any) -> Any:
    """The analysis of a file; the module itself that Python code makes, as it is run on the data."""
    from graphneurons.cli.analyze import analysis_of
    from graphneurons.cli.arguments import looks_like_factory

    if not looks_like_factory(model):
        return analysis_of(model, *opening)
    from graphneurons.load.factory import made_by_factory

    return made_by_factory(model, trusted=opening[3])[0]


def _probed(
    subject: Any, layer: str, data: str, labels: dict[str, Any], groups: str | None, choices: dict[str, Any]
) -> ProbeReport:
    from graphneurons.cli.bars import Bar
    from graphneurons.probing.collecting import read_data
    from graphneurons.probing.probing import probe

    with Bar("probing") as bar:
        together = None if groups is None else _only(groups)
        return probe(subject, layer, read_data(data), labels, groups=together, progress=bar.show, **choices)


def _only(path: str) -> Any:
    """The one array of a file of groups."""
    from graphneurons.probing.concepts import read_labels

    found = read_labels(path)
    if len(found) != 1:
        raise UsageError(f"holds {len(found)} arrays ({', '.join(found)}); groups are one array", file=path)
    return next(iter(found.values()))


def _rendered(report: ProbeReport, top: int | None, as_json: bool, output: str | None) -> str:
    from dataclasses import replace

    from graphneurons.cli.writing import view_for
    from graphneurons.reports.json import dumps_record
    from graphneurons.reports.lines import painted, plain
    from graphneurons.reports.probe import probe_lines
    from graphneurons.reports.probe_json import probe_record

    if as_json:
        return dumps_record(probe_record(report))
    view, colour = view_for(output is None)
    return "".join((painted if colour else plain)(probe_lines(report, replace(view, top=top))))
