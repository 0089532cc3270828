"""Every error the package raises on purpose. Each message is one line that says what is wrong and what to do."""

from __future__ import annotations

import unicodedata

_LONGEST_SHOWN = 200


def printable(text: str, longest: int = _LONGEST_SHOWN) -> str:
    """``text`` on one line, safe for a terminal, a log and a report.

    Control, format (bidirectional, zero-width), surrogate and line-separator characters become ``\\x1b``-like escapes,
    and everything after ``longest`` characters becomes an ellipsis. Names in a model file are untrusted.

    >>> printable("a\\x1b[31m\\n\\u202eb")
    'a\\\\x1b[31m\\\\n\\\\u202eb'
    """
    if text.isascii() and text.isprintable() and len(text) <= longest:
        return text
    shown = "".join(
        character if character == " " or unicodedata.category(character)[0] not in "CZ" else _escape(character)
        for character in text[:longest]
    )
    return shown if len(text) <= longest else f"{shown}… ({len(text)} characters)"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii") if character != "\xa0" else "\\xa0"


class GraphNeuronsError(Exception):
    """Base of all errors. ``str(error)`` is one printable line: ``FILE: TENSOR OR NODE: what is wrong; what to do``."""

    def __init__(self, message: str, *, file: str | None = None, where: str | None = None) -> None:
        self.file = file
        self.where = where
        self.message = message
        parts = [printable(part, 1000) for part in (file, where) if part]
        super().__init__(": ".join([*parts, printable(message, 1000)]))


class LoadError(GraphNeuronsError):
    """The file is not a model that can be read: damaged, hostile, or of another kind."""


class DataError(GraphNeuronsError):
    """The structure is fine, but the bytes of a weight cannot be read."""


class RuleError(GraphNeuronsError):
    """A rule's text is malformed. This is a defect of a rule table, never of a model file."""


class UsageError(GraphNeuronsError):
    """The caller asked for something that does not exist: a layer, a dimension, an option."""
