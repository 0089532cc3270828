"""Models are built once per recipe and kept; what has the wrong size is refused."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.models.table import Model, Recipe

HERE = Path(__file__).parent
SOURCES = ("files.py", "networks.py", "__main__.py")


class WrongSizeError(Exception):
    """A model came out larger or smaller than its recipe says."""


def cached(folder: Path, model: Model, quick: bool, build: Callable[[Sequence[str]], None]) -> Path:
    """The file of ``model``. ``build`` gets a path, a function's name and its arguments. Raises `WrongSizeError`."""
    recipe = model.recipe(quick)
    place = folder / f"{model.name}-{key(recipe)}"
    if not place.exists():
        unfinished = folder / f"{place.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        build([str(unfinished / "model.onnx"), *map(str, recipe.steps)])
        checked(unfinished, model, recipe)
        unfinished.rename(place)
    checked(place, model, recipe)
    return place / "model.onnx"


def key(recipe: Recipe) -> str:
    """Changes with the recipe and with the builders' sources."""
    digest = hashlib.sha256(repr(recipe.steps).encode())
    for name in SOURCES:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:10]


def megabytes(place: Path) -> float:
    """What the files of a model hold; holes count."""
    return sum(file.stat().st_size for file in place.iterdir()) / 1e6


def checked(place: Path, model: Model, recipe: Recipe) -> None:
    least, most = recipe.megabytes
    size = megabytes(place)
    if not least <= size <= most:
        raise WrongSizeError(f"{model.name} has {size:,.1f} MB, not {least:,g} to {most:,g}; delete {place}")
