"""One hostile file: how it is made and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from onnx import ModelProto

Made = bytes | ModelProto | Path
Maker = Made | Callable[[Path], Made]
Outcome = Literal["E", "W", "EW", "OK"]


@dataclass(frozen=True)
class Case:
    """``expect``: ``E`` refused, ``W`` analyzed with a finding, ``EW`` either (never silently), ``OK`` accepted.

    ``says`` must be part of the error (or of a finding), in any letter case. ``checker`` documents why
    ``onnx.checker`` refuses a file of the ``OK`` kind. ``weightless``: no weight meets an activation: reports may be
    empty. ``shown``: its names attack reports. ``alone``: heavy. ``limit``: CPU seconds; ``memory``: added bytes.
    """

    name: str
    expect: Outcome
    make: Maker
    says: str = ""
    checker: str = ""
    weightless: bool = False
    shown: bool = False
    alone: bool = False
    slow: bool = False
    limit: float = 20.0
    memory: int = 512 * 2**20

    @property
    def formats(self) -> tuple[str, ...]:
        """The reports, besides JSON, to show of it: all where names are the weapon, none if heavy, else in turn."""
        every = ("text", "csv", "markdown")
        turn = sum(self.name.encode()) % 3
        return every if self.shown else () if self.alone else every[turn : turn + 1]

    @property
    def over_old(self) -> bool:
        """Whether there is an old report in the way; cases take turns."""
        return bool(sum(self.name.encode()) % 2)

    def write(self, folder: Path) -> Path:
        """Make the file (and what stands beside it) in ``folder`` and return the path to hand to the program."""
        made = self.make(folder) if callable(self.make) else self.make
        if isinstance(made, Path):
            return made
        path = folder / "model.onnx"
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        return path


def refused(name: str, make: Maker, says: str = "", *, alone: bool = False) -> Case:
    return Case(name, "E", make, says, alone=alone)


def noted(name: str, make: Maker, says: str = "", *, alone: bool = False, checker: str = "") -> Case:
    return Case(name, "W", make, says, alone=alone, checker=checker)


def not_silent(name: str, make: Maker, says: str = "", *, alone: bool = False) -> Case:
    return Case(name, "EW", make, says, alone=alone)


def valid(name: str, make: Maker, *, checker: str = "", alone: bool = False, weightless: bool = False) -> Case:
    return Case(name, "OK", make, checker=checker, alone=alone, weightless=weightless)


def seeded(name: str) -> Random:
    """Randomness that depends on the case alone, so that every run makes the same bytes."""
    return Random(f"graphneurons hostile corpus: {name}")
