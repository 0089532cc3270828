"""Errors as one line on stderr: ``error: FILE: TENSOR OR NODE: what is wrong and what to do``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from graphneurons.errors import GraphNeuronsError, printable
from graphneurons.reports.names import neutral

if TYPE_CHECKING:
    from graphneurons.graph import Notice


def complain(message: str, kind: str = "error") -> None:
    """``error: message`` on stderr, on one line whatever is in it."""
    if sys.stderr is None:
        return
    # That nobody can be told is no reason to end otherwise.
    with suppress(OSError):
        sys.stderr.write(f"{kind}: {neutral(printable(message, 4000))}\n")
        sys.stderr.flush()


def warn(file: str, notices: Iterable[Notice]) -> None:
    """A ``warning:`` line for every oddity met in ``file``."""
    for notice in notices:
        complain(": ".join(part for part in (file, notice.where, notice.message) if part), "warning")


def report(error: Exception, file: str) -> None:
    """The line for ``error``, met while working on ``file``; with ``GRAPHNEURONS_DEBUG=1`` also the traceback."""
    complain(said(error, file))
    if os.environ.get("GRAPHNEURONS_DEBUG") == "1":
        import traceback

        shown = "".join(traceback.format_exception(error))
        sys.stderr.write("".join(f"  {neutral(printable(text, 1000))}\n" for text in shown.splitlines()))


def said(error: Exception, file: str) -> str:
    """``error`` in one line that begins with the file."""
    if isinstance(error, GraphNeuronsError):
        return str(error) if error.file or not file else f"{printable(file, 1000)}: {error}"
    if isinstance(error, OSError):
        where = error.filename if isinstance(error.filename, str) else file
        return f"{where}: {error.strerror or error}" if where else f"standard output: {error.strerror or error}"
    prefix = f"{printable(file, 1000)}: " if file else ""
    if isinstance(error, MemoryError):
        return f"{prefix}not enough memory to analyze this"
    kind = type(error).__name__
    return f"{prefix}internal: {kind}: {error}; please report this as a defect (GRAPHNEURONS_DEBUG=1 shows where)"
