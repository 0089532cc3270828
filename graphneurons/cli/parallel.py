"""Work in several processes, none of which outlives this one, however it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], processes: int, lost: Callable[[Task], Result]
) -> Iterator[Result]:
    """``function`` of every task, in order. ``lost``: what stands for a task whose process died (out of memory).

    Whatever ends this early, an interrupt for one, ends the processes at once.
    """
    # Forked copies of a process with threads can hang.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin)
    try:
        with _uninterrupted():
            futures = [pool.submit(function, task) for task in tasks]
        for task, future in zip(tasks, futures, strict=True):
            yield _result(task, future, lost)
    except BaseException:
        for process in active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _result(task: Task, future: Future[Result], lost: Callable[[Task], Result]) -> Result:
    try:
        return future.result()
    except BrokenProcessPool:
        return lost(task)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt waits meanwhile, and processes started meanwhile get none: their parent ends them."""
    block = getattr(signal, "pthread_sigmask", None)
    if block is None:
        yield
        return
    before = block(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        block(signal.SIG_SETMASK, before)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
