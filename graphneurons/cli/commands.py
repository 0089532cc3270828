"""The group of commands. A command's module is imported when asked for, and none of them imports a model reader."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "analyze": "graphneurons.cli.analyze",
    "check": "graphneurons.cli.check",
    "explain": "graphneurons.cli.explain",
    "health": "graphneurons.cli.health",
    "lock": "graphneurons.cli.lock",
    "match": "graphneurons.cli.match",
    "probe": "graphneurons.cli.probe",
    "render": "graphneurons.cli.render",
    "wiring": "graphneurons.cli.wiring",
}
"""Name of a command -> the module with a function ``command`` that is it."""


class Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        found: click.Command | None = import_module(module).command if module else None
        return found


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from graphneurons import __version__

        click.echo(f"graphneurons {__version__}")
        ctx.exit()


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
def commands() -> None:
    """Says which axis of every weight of a neural network is neurons, which are synapses, and who feeds whom.

    Reads ONNX files; never runs them.
    """
