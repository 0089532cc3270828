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

from graphneurons.cli.running import no_numeric_warnings

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], processes: int, lost: Callable[[Task], Result]
) -> Iterator[Result]:
    """``function`` of every task, in order. ``lost``: what stands for a task whose process died (out of memory), and
    died again when it was alone.

    A process that dies takes the others with it: what they had not finished is done again, one task at a time. Whatever
    ends this early, an interrupt for one, ends the processes at once.
    """
    with _pool(processes) as pool:
        for task, future in zip(tasks, _submitted(pool, function, tasks), strict=True):
            try:
                result = future.result()
            except BrokenProcessPool:
                result = _alone(function, task, lost)
            yield result


def _alone(function: Callable[[Task], Result], task: Task, lost: Callable[[Task], Result]) -> Result:
    with _pool(1) as pool:
        try:
            return _submitted(pool, function, [task])[0].result()
        except BrokenProcessPool:
            return lost(task)


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    # Forked copies of a process with threads can hang.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException:
        for process in active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(
    pool: ProcessPoolExecutor, function: Callable[[Task], Result], tasks: Sequence[Task]
) -> list[Future[Result]]:
    with _uninterrupted():
        return [pool.submit(function, task) for task in tasks]


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
    no_numeric_warnings()
    Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
