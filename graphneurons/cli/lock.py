"""``graphneurons lock``: writes down what a model is, for `check --against` to compare with."""

from __future__ import annotations

import click


@click.command("lock", short_help="Write down what a model is, to tell drift later.", no_args_is_help=True)
@click.argument("model", type=click.Path())
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write to FILE instead of standard output.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,224,224", help="Shape of an input; repeatable.")
@click.option("--dim", "dims", multiple=True, metavar="NAME=128", help="Size of a dynamic dimension; repeatable.")
def command(model: str, output: str | None, shapes: tuple[str, ...], dims: tuple[str, ...]) -> int:
    """Writes the layers of MODEL, their sizes, roles and wiring, and fingerprints of its weights to a lock file: JSON,
    one layer or weight per line.

    Commit it beside the model; `graphneurons check MODEL --against LOCK` then tells what drifted.

    \b
    Examples:
      graphneurons lock model.onnx -o model.lock.json
      graphneurons check model.onnx --against model.lock.json

    Exit code: 0, or 2 for any error.
    """
    from graphneurons.cli.analyze import analysis_of
    from graphneurons.cli.arguments import parse_dims, parse_shapes
    from graphneurons.cli.failing import report
    from graphneurons.cli.writing import check_target, deliver, progress

    try:
        if output is not None:
            check_target(output, [model])
        given, sizes = parse_shapes(shapes), parse_dims(dims)
        with progress(f"reading {model}"):
            from graphneurons.checks.locking import dumps, lock

            text = dumps(lock(analysis_of(model, given, sizes)))
    except Exception as error:
        report(error, model)
        return 2
    deliver(text, output)
    return 0
