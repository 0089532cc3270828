"""Ways of doing a job: which program, on which model, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter
from typing import Any

from benchmarks.models.table import MODELS, NETWORKS
from benchmarks.targets import Target

OWN = "graphneurons"


@dataclass(frozen=True, slots=True)
class Way:
    """``command`` holds ``{python}``, ``{bin}`` (the environment's programs), ``{scratch}`` and names of models.

    ``peer``: the distribution it is of; ``works``: a program of `benchmarks.works`, which measures inside;
    ``cold``: models that are dropped from the page cache before every run; ``allowed``: statuses that are no failure;
    ``slow``: left out of ``--quick``; ``once``: run one time only, for it takes long.
    """

    name: str
    command: tuple[str, ...]
    peer: str = OWN
    works: bool = False
    cold: tuple[str, ...] = ()
    timeout: float = 120
    allowed: tuple[int, ...] = (0,)
    slow: bool = False
    once: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(name for name in _fields(self.command) if name in _MODELS)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Ways that differ in the size of their model, for the exponent of ``metric`` over size."""

    metric: str
    sizes: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Job:
    """``left_out``: peers that are not measured on it, with the reason; ``script``: a program that measures by itself.

    ``repeats``: (full, quick); ``quick``: whether ``--quick`` does it at all.
    """

    name: str
    title: str
    ways: tuple[Way, ...]
    targets: tuple[Target, ...] = ()
    repeats: tuple[int, int] = (5, 3)
    quick: bool = True
    left_out: tuple[tuple[str, str], ...] = ()
    scaling: Scaling | None = None
    scripts: tuple[Script, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """``benchmarks/health_scan.py`` and its arguments: it makes its own models and repeats, and tells medians."""

    arguments: tuple[str, ...]
    quick: tuple[str, ...] | None
    timeout: float = 1800


_MODELS = {model.name for model in MODELS}


def _fields(command: tuple[str, ...]) -> list[str]:
    return [name for part in command for _, name, _, _ in Formatter().parse(part) if name]


def command(name: str, text: str, peer: str = OWN, **options: Any) -> Way:
    """A whole program; ``text`` is split at spaces."""
    return Way(name, tuple(text.split()), peer, **options)


def code(name: str, text: str, *arguments: str, **options: Any) -> Way:
    return Way(name, ("{python}", "-c", text, *arguments), **options)


def on_file(name: str, work: str, model: str, **options: Any) -> Way:
    """A work on an ONNX file, after one on a small MLP."""
    return Way(name, (*_WORKS, work, "{small}", f"{{{model}}}"), works=True, **options)


def on_module(name: str, work: str, network: str, small: str = "tiny", **options: Any) -> Way:
    """A work on a PyTorch module, after one on a small module."""
    chosen = f"{{{network}}}" if network in NETWORKS else network
    return Way(name, (*_WORKS, work, small, chosen), works=True, **options)


_WORKS = ("{python}", "-W", "ignore", "-m", "benchmarks.works")
