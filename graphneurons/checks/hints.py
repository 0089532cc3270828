"""What somebody meant who wrote a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near(text: str, among: Iterable[str]) -> str:
    """A hint: what was meant, or what there is."""
    names = list(among)
    found = get_close_matches(text[:100], names, 1, 0.5) or get_close_matches(text[:100].upper(), names, 1, 0.5)
    return f"did you mean {found[0]!r}?" if found else f"there are {', '.join(names[:12])}"
