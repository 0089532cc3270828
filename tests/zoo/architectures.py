"""Every model of the zoo, by name."""

from __future__ import annotations

from types import ModuleType

from tests.zoo import language, recurrent, small, vision
from tests.zoo.models import Architecture

FAMILIES: tuple[ModuleType, ...] = (small, recurrent, vision, language)

ZOO: dict[str, Architecture] = {name: made for module in FAMILIES for name, made in module.ARCHITECTURES.items()}


def family(name: str) -> ModuleType:
    """The module that builds the model ``name``."""
    return next(module for module in FAMILIES if name in module.ARCHITECTURES)
