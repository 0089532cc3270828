"""Runs jobs, each in a forked child with limits, and says what came of it. A program of its own: ``python runner.py``.

One job per line on stdin, as JSON: ``{"argv": [...], "seconds": 20, "cwd": ..., "canaries": [paths]}``; one result per
line on stdout: exit code (or the signal, negative), output, CPU seconds, memory above the baseline, and files opened.
A job that uses more CPU time than it may, or takes three times as long, is killed.
Forking from a process that has imported everything makes a real run (own descriptors, own limits) cost milliseconds.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from typing import Any

MIB = 2**20


def command(argv: list[str]) -> int:
    """What the installed console script does."""
    from graphneurons.cli import main

    sys.argv = ["graphneurons", *argv]
    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0
    return 0


def checker(argv: list[str]) -> int:
    """``onnx.checker``, for comparison: exit 0 if it accepts."""
    import onnx

    try:
        onnx.checker.check_model(argv[-1], full_check="full" in argv[:-1])
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def session(argv: list[str]) -> int:
    """onnxruntime, for comparison: exit 0 if it loads the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        onnxruntime.InferenceSession(argv[-1], options, providers=["CPUExecutionProvider"])
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


PROGRAMS = {"graphneurons": command, "checker": checker, "session": session}


def memory_peak() -> int:
    """Peak resident bytes of this process (VmHWM)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def child(job: dict[str, Any], report: int) -> None:
    """Run the job and leave; never returns."""
    opened: list[str] = []

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and arguments[0] is not None and not isinstance(arguments[0], int):
            opened.append(os.fsdecode(arguments[0]))

    code = 1
    try:
        os.chdir(job["cwd"])
        os.environ.update(job.get("env", {}))
        resource.setrlimit(resource.RLIMIT_AS, (job.get("address_space", 12 * 2**30),) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(job.get("seconds", 20)) + 1,) * 2)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = memory_peak()
        sys.addaudithook(audit)
        code = PROGRAMS[job.get("program", "graphneurons")](job["argv"])
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 1
    seen = list(opened)
    os.write(report, json.dumps({"grown": memory_peak() - before, "opened": seen[-200:]}).encode())
    os._exit(code)


def lease(path: str) -> int | None:
    """Hold ``path`` so that an open by anyone, by whatever call, shows (None where the file system cannot do it)."""
    held = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        os.close(held)
        return None
    return held


def run(job: dict[str, Any]) -> dict[str, Any]:
    leases = {path: held for path in job.get("canaries", []) if (held := lease(path)) is not None}
    read, write = os.pipe()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        pid = os.fork()
        if not pid:
            os.setsid()
            os.close(read)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            signal.signal(signal.SIGIO, signal.SIG_DFL)
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(encoding="utf-8", line_buffering=False)
            child(job, write)
        os.close(write)
        said = b""
        hung = False
        deadline = start + 3 * job.get("seconds", 20)
        while True:
            ready, _, _ = select.select([read], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                hung = True
                os.kill(pid, signal.SIGKILL)
                break
            part = os.read(read, 65536)
            if not part:
                break
            said += part
        _, status, used = os.wait4(pid, 0)
        os.close(read)
        touched = [path for path, held in leases.items() if fcntl.fcntl(held, fcntl.F_GETLEASE) != fcntl.F_WRLCK]
        for held in leases.values():
            os.close(held)
        out.seek(0)
        err.seek(0)
        return {
            "exit": "hung" if hung else os.waitstatus_to_exitcode(status),
            "stdout": out.read().decode("utf-8", "surrogateescape"),
            "stderr": err.read().decode("utf-8", "surrogateescape"),
            "seconds": used.ru_utime + used.ru_stime,
            "touched": touched,
            **(json.loads(said) if said else {"grown": 0, "opened": []}),
        }


def main() -> None:
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    for name in sys.argv[1:]:
        __import__(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
