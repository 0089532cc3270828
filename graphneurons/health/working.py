"""Threads that do pieces of work in the order in which they are handed out.

`concurrent.futures` does the same, but imports logging, and so takes as long as a small model does to be scanned.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Handed(Generic[T]):
    """A piece of work that was handed out."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._going = Lock()
        self._going.acquire()

    def run(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as error:
            self._error = error
        finally:
            self._going.release()

    def result(self) -> T:
        """What the work found, once it is done; raises what it raised."""
        with self._going:
            if self._error is not None:
                raise self._error
            return self._found[0]


class Workers(Generic[T]):
    """So many threads. Use as a context manager: what was not begun when it ends is left out."""

    def __init__(self, threads: int) -> None:
        self._queue: SimpleQueue[Handed[T] | None] = SimpleQueue()
        self._threads = [Thread(target=self._run, name=f"health_{number}") for number in range(threads)]

    def __enter__(self) -> Workers[T]:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        while not self._queue.empty():
            self._queue.get()
        for _thread in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def hand_out(self, work: Callable[[], T]) -> Handed[T]:
        handed = Handed(work)
        self._queue.put(handed)
        return handed

    def _run(self) -> None:
        while (handed := self._queue.get()) is not None:
            handed.run()
