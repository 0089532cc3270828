"""The options with which every command opens a model: shapes, dimensions, and example inputs of PyTorch code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from graphneurons.load.factory import Example

Command = Callable[..., int]

_OPTIONS = (
    click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,224,224", help="Shape of an input; repeatable."),
    click.option("--dim", "dims", multiple=True, metavar="NAME=128", help="Size of a dynamic dimension; repeatable."),
    click.option(
        "--input",
        "examples",
        multiple=True,
        metavar="[NAME=][TYPE:]1,3,224,224",
        help="Example input of a PyTorch model made by Python code; repeatable.",
    ),
    click.option(
        "--trust-code", is_flag=True, help="Allow MODEL to be package.module:factory, which is imported and run."
    ),
)


@dataclass(frozen=True, slots=True)
class Given:
    """What was written on the command line, not yet understood."""

    shapes: tuple[str, ...]
    dims: tuple[str, ...]
    examples: tuple[str, ...]
    trusted: bool

    def understood(self) -> tuple[Mapping[str, tuple[int, ...]], Mapping[str, int], Sequence[Example], bool]:
        """The arguments of `graphneurons.cli.analyze.analysis_of` behind the path. Raises UsageError."""
        from graphneurons.cli.arguments import parse_dims, parse_examples, parse_shapes

        return parse_shapes(self.shapes), parse_dims(self.dims), parse_examples(self.examples), self.trusted


def model_options(command: Command) -> Command:
    """Adds the options to ``command``, which takes them together as ``given``."""

    @wraps(command)
    def gathered(
        *args: Any,
        shapes: tuple[str, ...],
        dims: tuple[str, ...],
        examples: tuple[str, ...],
        trust_code: bool,
        **others: Any,
    ) -> int:
        return command(*args, given=Given(shapes, dims, examples, trust_code), **others)

    made: Command = gathered
    for option in reversed(_OPTIONS):
        made = option(made)
    return made
