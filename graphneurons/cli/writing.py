"""Where reports go: standard output as the terminal can show it, or a file that is replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any, TextIO

from graphneurons.cli.running import BROKEN_PIPE, silence
from graphneurons.errors import UsageError, printable

if TYPE_CHECKING:
    from graphneurons.reports.text import View


@dataclass(frozen=True, slots=True)
class Screen:
    """What a stream can show: ``width`` is None where nothing limits it."""

    width: int | None
    colour: bool
    unicode: bool


def screen(stream: TextIO | None) -> Screen:
    """What ``stream`` can show. ``COLUMNS``, ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM=dumb`` are honoured."""
    terminal = stream is not None and stream.isatty()
    columns = os.environ.get("COLUMNS", "")
    width = max(int(columns), 20) if columns.isascii() and columns.isdigit() and 0 < int(columns) < 100_000 else None
    if width is None and terminal:
        width = max(shutil.get_terminal_size().columns, 20)
    capable = terminal and os.environ.get("TERM", "") != "dumb"
    colour = (capable or bool(os.environ.get("FORCE_COLOR"))) and not os.environ.get("NO_COLOR")
    try:
        "×·–├─└│…←".encode(getattr(stream, "encoding", None) or "utf-8")
        unicode = True
    except (UnicodeError, LookupError):
        unicode = False
    return Screen(width, colour, unicode)


def view_for(on_screen: bool, *shape: Any) -> tuple[View, bool]:
    """How standard output (or, if not ``on_screen``, a file) is written to, and whether in colour. ``shape``: what else
    a `View` starts with."""
    from graphneurons.reports.lines import ASCII, UNICODE
    from graphneurons.reports.text import View

    shown = screen(sys.stdout) if on_screen else Screen(None, colour=False, unicode=True)
    glyphs = UNICODE if shown.unicode else ASCII
    return replaced(View(*shape), width=shown.width, glyphs=glyphs), shown.colour


def emit(texts: Iterable[str]) -> None:
    """Writes ``texts`` to standard output at once; characters it cannot encode become escapes.

    Raises OSError, and SystemExit where nobody reads any more (``| head``): that is no error to talk about.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    try:
        for text in texts:
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence()
        raise SystemExit(BROKEN_PIPE) from None


def check_target(path: str, inputs: Iterable[str] = ()) -> None:
    """Raises UsageError where ``path`` is no place to write a report to: said before any work is done."""
    folder = os.path.dirname(path) or "."
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        there = None
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", file=path) from None
    if there is not None:
        _check_existing(path, there)
        if any(_same(path, model) for model in inputs):
            raise UsageError("is one of the models to read; write the report somewhere else", file=path)
    if os.path.basename(path) in ("", ".", ".."):
        raise UsageError("is not the name of a file; give -o a file name", file=path)
    if not os.path.isdir(folder):
        raise UsageError(f"its directory {folder} does not exist; make it first", file=path)
    if not os.stat(folder).st_mode & 0o222 or not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"its directory {folder} is not writable", file=path)


def _check_existing(path: str, there: os.stat_result) -> None:
    if stat.S_ISLNK(there.st_mode):
        raise UsageError("is a symbolic link; give -o the file it points to", file=path)
    if stat.S_ISDIR(there.st_mode):
        raise UsageError("is a directory; give -o a file name", file=path)
    if not stat.S_ISREG(there.st_mode):
        raise UsageError("is not a regular file; leave -o out to write to standard output", file=path)
    if not there.st_mode & 0o222 or not os.access(path, os.W_OK):
        raise UsageError("is write-protected", file=path)


def _same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def deliver(text: str, output: str | None) -> None:
    """Writes ``text`` to the file ``output`` (see `replace`), or to standard output where that is None (see `emit`)."""
    if output is None:
        emit([text])
    else:
        replace(output, text)


def replace(path: str, text: str) -> None:
    """Writes ``text`` to ``path`` in UTF-8: afterwards the file is whole and new, or, on any error, as it was.

    A temporary file in the same directory is written, flushed to disk and renamed. Raises UsageError as `check_target`
    does, and OSError where the disk is full.
    """
    check_target(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:100]}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        if os.path.lexists(path):
            os.chmod(temporary, stat.S_IMODE(os.lstat(path).st_mode))
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise OSError(error.errno, error.strerror, path) from None
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


@contextmanager
def progress(doing: str, stream: TextIO | None = None) -> Iterator[None]:
    """Says on stderr what is being done, while it is done, if a person is looking at it."""
    stream = stream or sys.stderr
    if stream is None or not stream.isatty() or os.environ.get("TERM", "") == "dumb":
        yield
        return
    columns = shutil.get_terminal_size().columns
    stream.write(f"\r{printable(doing, 1000)[: columns - 1]}\x1b[K")
    stream.flush()
    try:
        yield
    finally:
        stream.write("\r\x1b[K")
        stream.flush()
