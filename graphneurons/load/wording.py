"""Names from a file inside a message: quoted, printable, and short, so that the rest of the message is seen."""

from __future__ import annotations

from graphneurons.errors import printable

_LONGEST = 80


def quoted(name: str | bytes) -> str:
    """``name`` in quotes, on one line, cut after 80 characters.

    >>> quoted("a\\nb")
    "'a\\\\nb'"
    """
    return f"'{brief(name)}'"


def brief(name: str | bytes) -> str:
    """``name`` without quotes, shown as in `quoted`."""
    text = name if isinstance(name, str) else name[: 2 * _LONGEST].decode("utf-8", errors="backslashreplace")
    return printable(text, _LONGEST)
