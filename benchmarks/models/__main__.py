"""``python -m benchmarks.models FILE FUNCTION ARGUMENTS...`` writes one model. Run in the environment of the peers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.models import files


def export(path: Path, name: str, how: str) -> None:
    from benchmarks.models import networks

    networks.export(name, how, path)


def inside(path: Path, width: str, hidden: str, blocks: str) -> None:
    files.decoder(path, files.Inside(), int(width), int(hidden), int(blocks))


def holes(path: Path, width: str, hidden: str, blocks: str) -> None:
    store = files.Beside(path.with_suffix(".data"), holes=True)
    files.decoder(path, store, int(width), int(hidden), int(blocks))


def chain(path: Path, size: str) -> None:
    files.chain(path, int(size))


def wide(path: Path, synapses: str) -> None:
    files.wide(path, int(synapses))


BUILDERS: dict[str, Callable[..., None]] = {
    "small": files.small,
    "export": export,
    "inside": inside,
    "holes": holes,
    "chain": chain,
    "wide": wide,
}

if __name__ == "__main__":
    target, function, *arguments = sys.argv[1:]
    BUILDERS[function](Path(target), *arguments)
