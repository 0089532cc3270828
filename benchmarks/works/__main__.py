"""``python -m benchmarks.works NAME SMALL SUBJECT`` times one work; the last line it prints is JSON.

``wall`` and ``cpu`` seconds of the call, and by how many megabytes (``mb``) it raised the peak of the process's memory.
"""

from __future__ import annotations

import gc
import json
import sys
import time

from benchmarks.works import files, modules


def peak() -> float:
    """Peak memory of this process in MB. ru_maxrss would do elsewhere, but starts at what the parent had."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def main(name: str, small: str, subject: str) -> None:
    prepare = (files.WORKS | modules.WORKS)[name]
    prepare(small)()
    call = prepare(subject)
    gc.collect()
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()
    kept = call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print()
    print(json.dumps({"wall": wall, "cpu": cpu, "mb": peak() - before}))
    del kept


if __name__ == "__main__":
    main(*sys.argv[1:])
