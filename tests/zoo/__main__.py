"""``python -m tests.zoo [NAME[.HOW] ...]``: export models of the zoo (all of them) and print where they are."""

from __future__ import annotations

import os
import sys
import time

from tests.zoo.architectures import ZOO
from tests.zoo.exporting import export

# PyTorch's C++ code writes whole graphs to file descriptor 1 when an export fails.
report = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

wanted = sys.argv[1:] or list(ZOO)
for name, _, how in (entry.partition(".") for entry in wanted):
    for chosen in [how] if how else ("dynamo", "legacy"):
        started = time.perf_counter()
        try:
            path = str(export(name, chosen))  # type: ignore[arg-type]
        except Exception as error:
            path = f"{type(error).__name__}: {' '.join(str(error).split())[:700]}"
        print(f"{name}.{chosen}\t{time.perf_counter() - started:.1f} s\t{path}", file=report, flush=True)
