"""What a caller of `activations` asks for, and the model made ready to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphneurons.axes.rules.site import Shape
from graphneurons.probing.choosing import Chosen
from graphneurons.probing.feeding import Array
from graphneurons.probing.settling import Reading, Runner, Settled


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """The arguments of `graphneurons.probing.collecting.activations` that say which activations are wanted."""

    layer: str
    data: Mapping[str, Array]
    after: bool
    untrained: int | None
    batch: int | None
    shapes: Mapping[str, Shape] | None
    dims: Mapping[str, int] | None


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A model ready to run: what is read, where it stands, and what runs it."""

    reading: Reading
    chosen: Chosen
    settled: Settled
    runner: Runner
    notices: tuple[str, ...] = ()
