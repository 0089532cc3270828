"""All the broken, hostile and odd-looking files. ``python -m tests.hostile.corpus DIR`` writes them out."""

from __future__ import annotations

import sys
from pathlib import Path

from . import bombs, external, functions, graphs, names, nonsense, notonnx, tensors, wire
from .case import Case

FAMILIES: dict[str, tuple[Case, ...]] = {
    "wire": wire.CASES,
    "not ONNX": notonnx.CASES,
    "tensors": tensors.CASES,
    "external data": external.CASES,
    "graphs": graphs.CASES,
    "op nonsense": nonsense.CASES,
    "functions": functions.CASES,
    "bombs": bombs.CASES,
    "names": names.CASES,
}

CASES: dict[str, Case] = {f"{family}: {case.name}": case for family, cases in FAMILIES.items() for case in cases}


def write(folder: Path) -> None:
    for number, (name, case) in enumerate(CASES.items()):
        place = folder / f"{number:03d}"
        place.mkdir(parents=True)
        print(case.expect, case.write(place), name)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
