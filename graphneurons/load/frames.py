"""Names while a graph is flattened: what a name means inside one graph, and which names are still free outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphneurons.graph import NOTHING, Attribute

_LONGEST_PREFIX = 300


@dataclass(slots=True)
class Frame:
    """One graph or function body that is being flattened.

    ``names`` maps the names that are defined here to the flattened graph's; ``parent`` is where captured names are
    looked up (None at the top and in functions); ``bound`` holds the attributes a function was called with.
    """

    versions: Mapping[str, int]
    parent: Frame | None = None
    prefix: str = ""
    scope: tuple[str, ...] = ()
    depth: int = 0
    in_function: bool = False
    bound: Mapping[str, Attribute] = field(default_factory=lambda: NOTHING)
    names: dict[str, str] = field(default_factory=lambda: {"": ""})

    def find(self, name: str) -> str | None:
        """The flattened graph's name of ``name``, None if nothing here or around here defines it."""
        frame: Frame | None = self
        while frame is not None:
            found = frame.names.get(name)
            if found is not None:
                return found
            frame = frame.parent
        return None


class FreeNames:
    """Hands out names, each once: the wanted one if it is free, else qualified by a prefix, else numbered."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, name: str, prefix: str, otherwise: str = "") -> str:
        """``name`` if it is free and not empty, else ``prefix/name`` (or ``prefix/otherwise`` if that is given)."""
        if name and name not in self._taken:
            self._taken.add(name)
            return name
        base = f"{prefix}/{otherwise or name}" if prefix else otherwise or name
        if base not in self._taken:
            self._taken.add(base)
            return base
        number = self._next.get(base, 2)
        while f"{base}_{number}" in self._taken:
            number += 1
        self._next[base] = number + 1
        free = f"{base}_{number}"
        self._taken.add(free)
        return free

    def claim(self, name: str) -> bool:
        """Take ``name`` if it is free; says whether it was."""
        if name in self._taken:
            return False
        self._taken.add(name)
        return True

    def claim_all(self, names: set[str]) -> bool:
        """Take all of ``names`` if all are free, else none of them; says which."""
        if not self._taken:
            self._taken = names
            return True
        if not self._taken.isdisjoint(names):
            return False
        self._taken |= names
        return True

    def claim_each(self, names: Sequence[str]) -> Sequence[str]:
        """Take what is free of ``names``, the first of equal ones; in the answer, the others are empty."""
        wanted = set(names)
        if len(wanted) == len(names) and "" not in wanted and self.claim_all(wanted):
            return names
        return [name if name and self.claim(name) else "" for name in names]

    def prefix(self, text: str) -> str:
        """``text`` as a prefix; shortened where nesting would make names of names without bound."""
        if len(text) <= _LONGEST_PREFIX:
            return text
        return self.take(f"{text[:_LONGEST_PREFIX]}~", "")
