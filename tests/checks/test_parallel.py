"""Models checked in several processes: one that dies takes none of the others with it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from graphneurons.cli.parallel import in_parallel

Task = tuple[str, str, str]


def _work(task: Task) -> str:
    """``dies`` always, ``dies once``, or says its name. ``folder`` notes how often each was begun."""
    name, kind, folder = task
    notes = Path(folder) / name
    with notes.open("a") as file:
        file.write("x")
    if kind == "dies" or (kind == "dies once" and notes.stat().st_size == 1):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def _lost(task: Task) -> str:
    return f"{task[0]} lost"


def _done(kinds: list[str], folder: Path) -> list[str]:
    tasks = [(f"m{at}", kind, str(folder)) for at, kind in enumerate(kinds)]
    return list(in_parallel(_work, tasks, 2, _lost))


def test_only_the_model_whose_process_dies_is_lost(tmp_path: Path) -> None:
    assert _done(["well", "dies", "well", "dies", "well"], tmp_path) == ["m0", "m1 lost", "m2", "m3 lost", "m4"]
    assert max(each.stat().st_size for each in tmp_path.iterdir()) <= 3


def test_a_process_that_died_once_is_begun_again(tmp_path: Path) -> None:
    assert _done(["dies once", "well", "well"], tmp_path) == ["m0", "m1", "m2"]
