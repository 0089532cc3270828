"""Models far larger than memory: what is drawn is read, and nothing else is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import graphneurons
from tests.views.drawn import groups, of
from tests.views.large import seven_billion, wide

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# ru_maxrss of a new process starts at what its parent had; VmHWM is its own.
MEASURED = """
import sys
from graphneurons.cli.running import run
code = run(["render", *sys.argv[1:]])
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(code, peak // 1024)
"""
MEGABYTES = 500


def measured(*arguments: object) -> tuple[int, int]:
    """(exit code, peak memory in MB) of ``graphneurons render`` in a process of its own; stopped after 100 s."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, timeout=100, check=True,
    )  # fmt: skip
    code, peak = done.stdout.split()[-2:]
    return int(code), int(peak)


@pytest.mark.parametrize("stored_in_out", [False, True], ids=["out-in", "in-out"])
@pytest.mark.parametrize("view", ["rows", "columns"])
def test_a_layer_of_604_million_synapses(view: str, stored_in_out: bool, tmp_path: Path) -> None:
    code, peak = measured(wide(tmp_path, stored_in_out), "up", "--view", view, "-o", tmp_path / "a.svg")
    assert code == 0
    assert peak < MEGABYTES
    svg = (tmp_path / "a.svg").read_text("utf-8")
    assert "49,152 × 12,288" in svg
    assert ("49,144 more neurons" if view == "rows" else "12,280 more columns") in svg


def test_seven_billion_parameters(tmp_path: Path) -> None:
    model = seven_billion(tmp_path)
    views = [
        (),
        ("layers.3.mlp.down",),
        ("layers.3.mlp.down", "--view", "columns"),
        ("layers.3.attention.k", "--view", "attention"),
        ("layers.3.mlp.up:7", "--up", "2", "--down", "2"),
    ]
    for view in views:
        code, peak = measured(model, *view, "-o", tmp_path / "a.svg")
        assert (view, code) == (view, 0)
        assert peak < MEGABYTES
    drawing = graphneurons.render(model)
    assert "× 32" in drawing.svg
    assert len(of(groups(drawing), "item")) < 20
