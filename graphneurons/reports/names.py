"""Untrusted names, made safe to show: escaped, measured in terminal cells, broken over lines."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from graphneurons.errors import printable

# CI systems act on a line of a log that holds one of these: GitHub on a line that starts with `::` once spaces are
# stripped (and on `##[` anywhere), Azure on `##vso[` anywhere, TeamCity on `##teamcity[`. `onnx::MatMul_7` is harmless.
_COMMANDS = re.compile(r"(?<![A-Za-z0-9_])::|#(?=#)")
_BREAK_AFTER = "./:_- "


def shown(name: str, longest: int = 200) -> str:
    """``name`` on one line, with nothing in it that a terminal or the log of a CI system would act upon.

    >>> shown("::error::x")
    '\\\\x3a:error::x'
    """
    return neutral(printable(name, longest))


def neutral(line: str) -> str:
    """``line`` with the commands of CI systems escaped."""
    return _COMMANDS.sub(lambda found: "\\x3a:" if found[0] == "::" else "\\x23", line)


def cells(text: str) -> int:
    """How many terminal columns ``text`` takes: two for wide East Asian characters, none for combining ones.

    >>> cells("Conv"), cells("重み")
    (4, 4)
    """
    return len(text) if text.isascii() else sum(map(_cell, text))


@lru_cache(maxsize=1024)
def _cell(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fold(text: str, width: int) -> list[str]:
    """``text`` in pieces of at most ``width`` columns, broken after a separator of path components where there is one.

    No piece starts with a colon, so that none can become a ``::command`` at the start of a line.

    >>> fold("encoder.layer.0.attention", 16)
    ['encoder.layer.0.', 'attention']
    """
    width = max(width, 8)
    pieces = []
    while cells(text) > width:
        cut = _fitting(text, width)
        cut = max(text.rfind(mark, cut // 3, cut) for mark in _BREAK_AFTER) + 1 or cut
        while cut > 1 and text[cut] == ":":
            cut -= 1
        pieces.append(text[:cut].rstrip(" "))
        text = text[cut:]
    return [*pieces, text]


def wrap(text: str, width: int | None) -> list[str]:
    """Words on lines of at most ``width`` columns (None: one line); words that are longer fold."""
    if width is None:
        return [text]
    pieces: list[str] = []
    current = ""
    for word in text.split(" "):
        joined = f"{current} {word}" if current else word
        if current and cells(joined) > width:
            pieces.append(current)
            joined = word
        *full, current = fold(joined, width)
        pieces.extend(full)
    return [*pieces, current]


def _fitting(text: str, width: int) -> int:
    if text.isascii():
        return width
    taken = 0
    for index, character in enumerate(text):
        taken += _cell(character)
        if taken > width:
            return index
    return len(text)
