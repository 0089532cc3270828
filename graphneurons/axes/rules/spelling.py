"""How rules are spelled: axis names for a rank, and operands that broadcast against factors already named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from graphneurons.axes.rules.site import NoRule, RuleFunction, Site

_LETTERS = "abcdefgh"


def names(rank: int, named: Mapping[int, str] | None = None) -> list[str]:
    """One name per axis: ``named`` where it says, else ``a b c ...`` (``a0 a1 ...`` beyond eight axes).

    >>> names(4, {1: "c"})
    ['a', 'c', 'b', 'd']
    """
    named = named or {}
    letters = _LETTERS if rank <= len(_LETTERS) else [f"a{index}" for index in range(rank)]
    free = iter([letter for letter in letters if letter not in named.values()])
    return [named.get(index) or next(free) for index in range(rank)]


def spelled(axes: Iterable[str]) -> str:
    """The text of an operand: ``.`` for one without axes."""
    return " ".join(axes) or "."


def marked(axes: Sequence[str], which: Iterable[int], mark: str = "^") -> list[str]:
    """``axes`` with ``mark`` before those at the positions ``which``."""
    chosen = set(which)
    return [mark + axis if index in chosen else axis for index, axis in enumerate(axes)]


def aligned(site: Site, index: int, axes: Sequence[str], mark: str = "~") -> str:
    """Operand ``index``, broadcast against ``axes`` as numpy does: right-aligned, ``1`` where it has size one.

    ``_`` if it is left out or its shape is not known: a modulator that cannot be aligned is not guessed.
    """
    shape = site.shape(index)
    if not site.has(index) or shape is None:
        return "_"
    if len(shape) > len(axes):
        raise NoRule(f"operand {index} has {len(shape)} axes where {len(axes)} can be aligned")
    used = axes[len(axes) - len(shape) :]
    return mark + spelled("1" if size == 1 else axis for axis, size in zip(used, shape, strict=True))


def every_operand(kind: str) -> RuleFunction:
    """A rule for any number of operands that broadcast: ``sum: *x, *x, *x -> *x``."""

    def rule(site: Site) -> str:
        return f"{kind}: {', '.join(['*x'] * max(1, len(site.op.inputs)))} -> *x"

    return rule


def positive(site: Site, name: str, default: int | None = None) -> int:
    """Attribute ``name``, a count; `NoRule` if it is missing without a default, or below one."""
    count = site.number(name, 0 if default is None else default)
    if count < 1:
        if name not in site.op.attributes:
            raise NoRule(f"attribute {name} is missing")
        raise NoRule(f"attribute {name} is {count}, which counts nothing")
    return count


def constant_integers(site: Site, index: int, what: str, count: int = 0) -> tuple[int, ...]:
    """At least ``count`` integers of operand ``index``; `NoRule` if they are computed while the model runs."""
    values = site.integers(index)
    if values is None:
        raise NoRule(f"{what} (operand {index}) is computed while the model runs")
    if len(values) < count:
        raise NoRule(f"{what} (operand {index}) has {len(values)} numbers where {count} are needed")
    return values


def counted(site: Site, name: str, default: int = 1) -> int:
    """Integer attribute ``name``, a number of groups or heads; `NoRule` where it is not positive."""
    count = site.number(name, default)
    if count < 1:
        raise NoRule(f"attribute {name} is {count}")
    return count
