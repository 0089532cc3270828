"""Run a program and say what it cost: wall and CPU seconds and peak memory, with its children."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

METRICS = {
    "wall": "seconds of the process",
    "cpu": "CPU seconds of the process",
    "mb": "peak MB of the process",
    "work_wall": "seconds of the work",
    "work_cpu": "CPU seconds of the work",
    "work_mb": "MB the work added to the peak",
}
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. ``cpu``: user and system time with that of all children; ``mb``: peak of the largest process.

    ``work_*`` is what a program of `benchmarks.works` measured inside: without interpreter and imports.
    """

    wall: float
    cpu: float
    mb: float
    work_wall: float | None = None
    work_cpu: float | None = None
    work_mb: float | None = None

    def record(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in asdict(self).items() if value is not None}


class FailedError(Exception):
    """The program did not do its work; the message says why, in one line."""


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout: float,
    allowed: Sequence[int] = (0,),
    works: bool = False,
) -> Sample:
    """Run ``command`` in ``folder``. Raises `FailedError` for a status not ``allowed`` and after ``timeout`` seconds.

    ``works``: the last line of its output is JSON with what it measured inside.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
        late = threading.Event()

        def stop() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        watch = threading.Timer(timeout, stop)
        watch.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            watch.cancel()
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if late.is_set():
            raise FailedError(f"stopped after {timeout:g} s")
        if process.returncode not in allowed:
            reason = last_line(errors) or last_line(output) or "says nothing"
            raise FailedError(f"status {process.returncode}: {reason}")
        inside = {f"work_{key}": float(value) for key, value in _told(output).items()} if works else {}
        return Sample(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, **inside)


def _told(output: IO[bytes]) -> dict[str, float]:
    line = last_line(output)
    try:
        found: dict[str, float] = json.loads(line)
    except ValueError:
        raise FailedError(f"its last line is no measurement: {line}") from None
    return found


def last_line(file: IO[bytes]) -> str:
    """The last line that is not empty, shortened."""
    file.seek(0)
    lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def interleaved(
    ways: Mapping[str, Callable[[], Sample]],
    repeat: int,
    told: Callable[[str, int], None] = lambda name, at: None,
    once: Collection[str] = (),
) -> tuple[dict[str, list[Sample]], dict[str, str]]:
    """A B C A B C ...: samples of every way, and the reasons of those that failed, which are not tried again.

    ``told`` is called before every run; what is named in ``once`` is run one time only.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    failures: dict[str, str] = {}
    for at in range(repeat):
        for name, measure in ways.items():
            if name in failures or (at and name in once):
                continue
            told(name, at)
            try:
                samples[name].append(measure())
            except FailedError as failure:
                failures[name] = str(failure)
    return samples, failures


def medians(samples: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Metric -> median, of the metrics that all samples have."""
    rows = list(samples)
    known = [name for name in METRICS if rows and all(name in row for row in rows)]
    return {name: statistics.median(row[name] for row in rows) for name in known}


def warm(path: Path, most: float) -> None:
    """Bring a file into the page cache, if it has no more than ``most`` bytes."""
    if path.stat().st_size > most:
        return
    buffer = bytearray(MEGABYTE)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def forget(path: Path) -> None:
    """Drop a file from the page cache, where the system does as it is told."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def machine() -> dict[str, Any]:
    """What it runs on."""
    names: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        names.setdefault(key.strip(), value.strip())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = os.uname()
    return {
        "processor": names.get("model name", system.machine),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "system": f"{system.sysname} {system.release.split('-')[0]} {system.machine}",
    }
