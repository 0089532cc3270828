"""The group of commands. A command's module is imported when asked for, and none of them imports a model reader."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "analyze": "Neurons and synapses of every weight of ONNX models.",
    "check": "A gate before deployment: rules about weights and wiring.",
    "explain": "What a rule of check does, and how to fix what it finds.",
    "health": "Statistics of the weights of every neuron.",
    "lock": "Write down what a model is, to tell drift later.",
    "match": "Which layer of one model is which layer of another.",
    "probe": "What the neurons of a layer respond to: learned probes.",
    "render": "Pictures: neurons by row and column, the network, circuits.",
    "wiring": "Who feeds whom: layers, synapses, junctions.",
}
"""Name of a command -> what it is for. It is the function ``command`` of the module of its name, which the list of all
commands does not import."""


class Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"graphneurons.cli.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


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

    Reads ONNX files and exported PyTorch programs. Only probe runs a model.
    """
