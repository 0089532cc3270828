"""A bar on stderr for work that takes long, if a person is looking at it."""

from __future__ import annotations

import os
import shutil
import sys


class Bar:
    """``with Bar("reading weights") as bar: bar.show(done, to_do)``; gone without a trace afterwards."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> Bar:
        self._shown = -1
        self._is_seen = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
        return self

    def show(self, done: int, to_do: int) -> None:
        share = 100 * done // to_do if to_do else 100
        if not self._is_seen or share == self._shown:
            return
        self._shown = share
        room = min(40, max(shutil.get_terminal_size().columns - len(self._doing) - 15, 1))
        bar = "#" * (room * share // 100)
        sys.stderr.write(f"\r{self._doing} [{bar:<{room}}] {share:3d}%\x1b[K")
        sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._shown >= 0:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
