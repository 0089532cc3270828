"""``python -m tests.checks [--write]``: injects every defect, and prints (or writes) docs/detection.md."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.checks.detection import PAGE, page

# PyTorch's C++ code writes whole graphs to file descriptor 1 when an export fails.
report = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

with tempfile.TemporaryDirectory() as folder:
    text = page(Path(folder))
if "--write" in sys.argv[1:]:
    PAGE.write_text(text, encoding="utf-8")
else:
    report.write(text)
