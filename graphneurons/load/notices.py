"""Collects what is odd but does not stop the analysis, without letting a hostile file flood the report."""

from __future__ import annotations

from graphneurons.errors import printable
from graphneurons.graph import Notice

_PER_CODE = 20


class Notices:
    """An ordered collection: at most twenty notices of one code, then one line that says how many more there were."""

    def __init__(self) -> None:
        self._found: dict[str, dict[tuple[str, str], None]] = {}
        self._more: dict[str, int] = {}

    def add(self, code: str, where: str, message: str) -> None:
        found = self._found.setdefault(code, {})
        where, message = printable(where), printable(message, 1000)
        if (where, message) in found:
            return
        if len(found) < _PER_CODE:
            found[where, message] = None
        else:
            self._more[code] = self._more.get(code, 0) + 1

    def all(self) -> tuple[Notice, ...]:
        listed = [Notice(code, *entry) for code, found in self._found.items() for entry in found]
        listed += [Notice(code, "", f"{count} more of the kind {code!r}") for code, count in self._more.items()]
        return tuple(listed)
