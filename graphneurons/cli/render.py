"""``graphneurons render``: pictures of neurons, drawn from a model file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from graphneurons.cli.options import Given, model_options
from graphneurons.errors import GraphNeuronsError, UsageError

if TYPE_CHECKING:
    from graphneurons.views.drawing import Drawing

VIEWS = ["network", "rows", "columns", "pair", "mlp", "conv", "recurrent", "attention", "circuit"]
FORMATS = ["svg", "png", "pdf", "dot"]


@click.command("render", short_help="Pictures: neurons by row and column, the network, circuits.", no_args_is_help=True)
@click.argument("model", type=click.Path())
@click.argument("layer", required=False)
@click.option("--view", type=click.Choice(VIEWS), help="What to draw.  [default: network, or what suits LAYER]")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write FILE (.svg, .png, .pdf, .dot).")
@click.option("--format", type=click.Choice(FORMATS), help="[default: what FILE ends in, svg on standard output]")
@click.option("--neurons", metavar="WHICH", help="0,5,10:20 or top:16 (by norm) or random:16.")
@click.option("--max-neurons", type=int, metavar="N", help="Most neurons (columns, heads, nodes) drawn one by one.")
@click.option("--max-synapses", type=int, metavar="N", help="Most synapses of a neuron drawn one by one.")
@click.option(
    "--perspective",
    type=click.Choice(["both", "weights", "neurons"]),
    default="both",
    show_default=True,
    help="Of pair and mlp: boxes, circles or both.",
)
@click.option("--at", metavar="1,0.5,-2", help="Of columns: an input to evaluate the keys at.")
@click.option("--up", type=int, default=2, show_default=True, help="Of circuit: levels upstream.")
@click.option("--down", type=int, default=1, show_default=True, help="Of circuit: levels downstream.")
@click.option("--top", type=int, default=3, show_default=True, help="Of circuit: strongest of either sign.")
@click.option("--heads", type=int, metavar="N", help="Of attention: heads, where the file does not say.")
@click.option("--kv-heads", type=int, metavar="N", help="Of attention: key and value heads.")
@click.option("--depth", type=int, metavar="N", help="Of network: levels of modules shown.")
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
@click.option("--font-size", type=float, default=14.0, show_default=True, metavar="POINTS")
@click.option("--title", help="Instead of the layer's or the file's name.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "graphviz-pure", "dot"]),
    help="What draws.  [default: $GRAPHNEURONS_ENGINE, or what fits]",
)
@model_options
def command(
    model: str,
    layer: str | None,
    view: str | None,
    output: str | None,
    format: str | None,
    at: str | None,
    engine: str | None,
    given: Given,
    **choices: Any,
) -> int:
    """Draws neurons and synapses of MODEL: the whole network, or LAYER by row, by column, by kernel, gate or head.

    LAYER is an id as `graphneurons analyze` lists it; LAYER:5 draws the circuit around its neuron 5. Excitatory
    synapses are orange arrows, inhibitory ones blue bars.

    \b
    Examples:
      graphneurons render model.onnx -o network.svg
      graphneurons render model.onnx fc1 -o fc1.svg
      graphneurons render model.onnx fc2 --view columns --neurons top:16 -o fc2.png
      graphneurons render model.onnx fc1 --view pair --theme dark -o pair.svg
      graphneurons render model.onnx fc2:7 --up 3 -o circuit.pdf
      graphneurons render model.onnx fc1 --format dot > fc1.dot

    SVG and PNG need an engine: pip install "graphneurons[render]", or Graphviz. Exit code: 0, or 2 on any error, and
    then no file is written.
    """
    from graphneurons.cli.failing import report

    try:
        drawing, chosen = _drawing(model, layer, view, output, format, at, engine, given, choices)
        if output is not None:
            drawing.save(output, chosen)
        else:
            _emit(drawing.bytes(chosen))
    except (GraphNeuronsError, OSError, MemoryError) as error:
        report(error, model)
        return 2
    return 0


def _drawing(
    model: str,
    layer: str | None,
    view: str | None,
    output: str | None,
    format: str | None,
    at: str | None,
    engine: str | None,
    given: Given,
    choices: dict[str, Any],
) -> tuple[Drawing, str]:
    """The drawing, and the format to write it in. What can be refused without a model is refused first."""
    from graphneurons.cli.writing import check_target, progress
    from graphneurons.views.drawing import format_of
    from graphneurons.views.options import Options
    from graphneurons.views.rendering import choose

    opening = given.understood()
    options = {**choices, "at": _numbers(at) if at is not None else None}
    Options(**options)
    if output is not None:
        check_target(output, [model])
    chosen = format or (format_of(output) if output is not None else "svg")
    if output is None and chosen in ("png", "pdf") and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError(f"{chosen.upper()} is not written to a terminal; give -o a file name")
    if chosen != "dot":
        choose(chosen, "", engine)
    with progress(f"reading {model}"):
        from graphneurons.cli.analyze import analysis_of
        from graphneurons.views.viewing import render

        return render(analysis_of(model, *opening), layer, view, engine=engine, **options), chosen


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(piece) for piece in text.split(","))
    except ValueError:
        numbers = (float("nan"),)
    if not all(abs(number) < 1e30 for number in numbers):
        raise UsageError(f"--at {text}: expected numbers, as 1,0.5,-2")
    return numbers


def _emit(picture: bytes) -> None:
    import errno

    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        raise OSError(errno.EBADF, "standard output is closed")
    stream.write(picture)
    stream.flush()
