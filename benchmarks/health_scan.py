"""The health scan beside `onnx.load` + naive numpy and beside a bare read of the same bytes, as whole processes.

    python benchmarks/health_scan.py [--gigabytes 1.8] [--repeat 5] [--kinds float32-rows,float16-rows] [--json FILE]
    python benchmarks/health_scan.py --quick

Models are made in a temporary directory and removed. Every run finds its file in the page cache: a read before it sees
to that. What counts are the ratios: all columns see the same machine, in turn. `compared` gives the rows to programs.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHAPE = (11008, 4096)
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}

READ = """
import os, sys
buffer = bytearray(1 << 20)
descriptor, at = os.open(sys.argv[1], os.O_RDONLY), 0
while count := os.preadv(descriptor, [buffer], at):
    at += count
"""
NAIVE = """
import sys
import numpy as np
import onnx
from onnx import numpy_helper
model = onnx.load(sys.argv[1])
axis = int(sys.argv[2])
for tensor in model.graph.initializer:
    w = numpy_helper.to_array(tensor)
    if w.ndim < 2:
        continue
    size = np.abs(w)
    w.min(axis=axis), w.max(axis=axis), w.mean(axis=axis), np.linalg.norm(w, axis=axis), size.max(axis=axis)
    (w == 0).sum(axis=axis), ((size < 1e-38) & (w != 0)).sum(axis=axis), np.isnan(w).sum(axis=axis)
    np.isinf(w).sum(axis=axis), (w > 0).sum(axis=axis), (w < 0).sum(axis=axis)
"""
SCAN = """
import sys
import graphneurons
from graphneurons.health import scan
scan(graphneurons.analyze(sys.argv[1]))
"""
NOTHING = "import sys, onnx, numpy"


KINDS = "float32-rows,float32-columns,float16-rows,float16-columns,bfloat16-rows,int8-rows,int8-columns"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, help="1.8, or 1 if --quick; no more than 2 are made.")
    parser.add_argument("--repeat", type=int, help="5, or 3 if --quick.")
    parser.add_argument("--kinds", help=f"{KINDS}; the first if --quick.")
    parser.add_argument("--quick", action="store_true", help="A minute instead of an hour.")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--directory", help="Where models are made; needs as much room as they are large.")
    options = parser.parse_args()
    quick = options.quick
    rows = []
    headings = f"{'read':>8}{'naive':>8}{'scan':>8}{'/naive':>8}{'/read':>8}{'CPU/read':>10}{'MB over':>9}"
    print(f"{'weights':18}{'GB':>5}{headings}")
    for row in compared(
        (options.kinds or ("float32-rows" if quick else KINDS)).split(","),
        options.gigabytes or (1.0 if quick else 1.8),
        options.repeat or (3 if quick else 5),
        options.directory,
    ):
        rows.append(row)
        print(line(row), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")


def compared(
    kinds: Sequence[str], gigabytes: float, repeat: int, directory: str | None = None
) -> Iterator[dict[str, Any]]:
    """One row per kind of weights (``float32-rows``): ``kind``, ``gigabytes``, the medians of each way (``read``,
    ``naive``, ``scan``, ``nothing``: ``wall`` and ``cpu`` seconds, peak ``mb``), and the `ratios` of the scan."""
    # As an installed package is; else every run compiles what changed, where Python may not write.
    compileall.compile_dir(ROOT / "graphneurons", quiet=1)
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        for kind in kinds:
            dtype, _, layout = kind.partition("-")
            path = os.path.join(folder, f"{kind}.onnx")
            make(path, gigabytes, dtype, layout)
            found = measured(path, layout, repeat)
            yield {"kind": kind, "gigabytes": os.path.getsize(path) / 1e9, **found, **ratios(found)}
            os.unlink(path)


def measured(path: str, layout: str, repeat: int) -> dict[str, Any]:
    """Medians of wall seconds, CPU seconds and peak megabytes of each way, taken in turn."""
    axis = "1" if layout == "rows" else "0"
    ways = {"naive": [NAIVE, path, axis], "read": [READ, path], "scan": [SCAN, path], "nothing": [NOTHING]}
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, arguments in ways.items():
            run([READ, path])
            runs[name].append(run(arguments))
    medians = {name: [statistics.median(column) for column in zip(*found, strict=True)] for name, found in runs.items()}
    return {name: dict(zip(("wall", "cpu", "mb"), found, strict=True)) for name, found in medians.items()}


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """How the scan does beside the others; ``mb_over``: peak over an interpreter with numpy and onnx."""
    read, naive, scan = found["read"], found["naive"], found["scan"]
    return {
        "wall_of_naive": scan["wall"] / naive["wall"],
        "cpu_of_naive": scan["cpu"] / naive["cpu"],
        "wall_of_read": scan["wall"] / read["wall"],
        "cpu_of_read": scan["cpu"] / read["cpu"],
        "mb_over": scan["mb"] - found["nothing"]["mb"],
    }


def run(arguments: list[str]) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak MB) of a program with its arguments, in a process of its own."""
    code = (
        "import os, resource, subprocess, sys, time\n"
        "start = time.perf_counter()\n"
        "subprocess.run([sys.executable, '-c', *sys.argv[1:]], check=True)\n"
        "wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=True
    )
    wall, cpu, mb = map(float, done.stdout.split())
    return wall, cpu, mb


def line(row: dict[str, Any]) -> str:
    walls = "".join(f"{row[name]['wall']:8.2f}" for name in ("read", "naive", "scan"))
    told = f"{row['wall_of_naive']:8.3f}{row['wall_of_read']:8.2f}{row['cpu_of_read']:10.2f}{row['mb_over']:9.0f}"
    return f"{row['kind']:18}{row['gigabytes']:5.1f}{walls}{told}"


def make(path: str, gigabytes: float, dtype: str, layout: str) -> None:
    """A chain of matrices with random weights of standard deviation 0.02, in one file."""
    import numpy as np
    from onnx import TensorProto, helper, save

    shape = SHAPE if layout == "rows" else SHAPE[::-1]
    size = SHAPE[0] * SHAPE[1] * BYTES[dtype]
    # A protobuf message holds no more than 2 GiB.
    count = max(1, min(round(gigabytes * 1e9 / size), int(2e9) // size))
    base = np.random.default_rng(0).normal(0, 0.02, SHAPE[0] * SHAPE[1]).astype(np.float32)
    number = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}.get(dtype) or TensorProto.DataType.Value(
        dtype.upper()
    )
    nodes, weights, value = [], [], "x"
    for at in range(count):
        sizes = shape if at % 2 == 0 else shape[::-1]
        name, axis = f"l{at}.weight", 0 if layout == "rows" else 1
        weights.append(helper.make_tensor(name, number, sizes, stored(np.roll(base, at * 7919), dtype), raw=True))
        used = name
        if dtype == "int8":
            scale = np.linspace(0.001, 0.01, sizes[axis], dtype=np.float32)
            weights.append(helper.make_tensor(f"s{at}", TensorProto.FLOAT, scale.shape, scale.tobytes(), raw=True))
            nodes.append(helper.make_node("DequantizeLinear", [name, f"s{at}"], [f"d{at}"], axis=axis))
            used = f"d{at}"
        nodes.append(helper.make_node("Gemm", [value, used], [f"y{at}"], transB=int(layout == "rows")))
        value = f"y{at}"
    kind = TensorProto.FLOAT if dtype == "int8" else number
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info("x", kind, [1, SHAPE[1]])],
        [helper.make_tensor_value_info(value, kind, None)],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def stored(values: Any, dtype: str) -> bytes:
    import numpy as np

    if dtype == "bfloat16":
        bits = (values.view(np.uint32) >> 16).astype(np.uint16)
        return bytes(bits.tobytes())
    if dtype == "int8":
        return bytes(np.clip(np.round(values * 2000), -127, 127).astype(np.int8).tobytes())
    return bytes(values.astype(dtype).tobytes())


if __name__ == "__main__":
    main()
