"""Bad input, a full disk, interrupts, models larger than memory: exit 2 (or the signal's), one line, nothing harmed."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.checks.models import HEALTHY, node, replace, weight
from tests.cli.conftest import Ran, environment

Cli = Callable[..., Ran]
MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _model(path: Path, name: str = "mlp") -> onnx.ModelProto:
    made = HEALTHY[name](np.random.default_rng(0))
    onnx.save(made, path)
    return made


def _held(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


BROKEN: dict[str, bytes | None] = {
    "empty": b"", "binary": b"\xff\xfe\x00\x01", "truncated": b'{"graphneurons_lock": 1, "layers": [', "list": b"[]",
    "nested": b"[" * 100_000, "other version": b'{"graphneurons_lock": 99, "graphneurons_baseline": 99}',
    "directory": None,
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("option", ["--against", "--baseline", "--config"])
def test_what_is_read_beside_the_model_and_is_broken_is_one_line(
    option: str, kind: str, cli: Cli, tmp_path: Path
) -> None:
    _model(tmp_path / "m.onnx")
    (tmp_path / "out.txt").write_text("old")
    broken, data = tmp_path / "broken.json", BROKEN[kind]
    if data is None:
        broken.mkdir()
    elif kind == "list" and option == "--config":
        broken.write_bytes(b"select = 3")
    else:
        broken.write_bytes(data or (b"x" if option == "--config" else b""))
    before = _held(tmp_path)
    ran = cli("check", "m.onnx", option, "broken.json", "-o", "out.txt", "--exit-zero")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: broken.json: ")
    assert _held(tmp_path) == before


@pytest.mark.parametrize("option", ["--against", "--baseline", "--config"])
def test_what_is_missing_beside_the_model_is_one_line(option: str, cli: Cli, tmp_path: Path) -> None:
    _model(tmp_path / "m.onnx")
    ran = cli("check", "m.onnx", option, "nothing.json", "--exit-zero")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: nothing.json: ")


def test_no_baseline_is_written_of_models_that_could_not_all_be_read(cli: Cli, tmp_path: Path) -> None:
    _model(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"no model")
    (tmp_path / "known.json").write_text("old")
    assert cli("check", tmp_path, "--write-baseline", "known.json", "--jobs", "1").code == 2
    assert (tmp_path / "known.json").read_text() == "old"


POLICIES = {
    "digits": "[thresholds]\nGN208.largest = " + "9" * 5000,
    "no float": "[thresholds]\nGN208.largest = " + "9" * 400,
    "twice": 'select = ["GN1"]\nselect = ["GN2"]',
    "not a number": "[thresholds]\nGN208.largest = nan",
    "deep": "select = " + "[" * 3000 + "]" * 3000,
}


@pytest.mark.parametrize("kind", POLICIES)
def test_a_hostile_policy_is_one_line(kind: str, cli: Cli, tmp_path: Path) -> None:
    _model(tmp_path / "m.onnx")
    (tmp_path / "policy.toml").write_text(POLICIES[kind])
    ran = cli("check", "m.onnx", "--config", "policy.toml")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: policy.toml: ")
    assert "internal" not in ran.err


@pytest.mark.parametrize(
    "change",
    [
        {"norm": float("nan")}, {"norm": float("inf")}, {"norm": 10**400}, {"norm": 1e308}, {"sketch": [1e308] * 16},
        {"sketch": [10**400] * 16}, {"sketch": [1.0]}, {"total": -1e300},
    ],
    ids=lambda change: str(change)[:24],
)  # fmt: skip
def test_numbers_of_a_lock_that_nothing_can_be_computed_of_are_refused(
    change: dict[str, object], cli: Cli, tmp_path: Path
) -> None:
    _model(tmp_path / "m.onnx")
    assert cli("lock", "m.onnx", "-o", "m.lock.json").code == 0
    lock = json.loads((tmp_path / "m.lock.json").read_text())
    lock["weights"][0].update(change)
    (tmp_path / "m.lock.json").write_text(json.dumps(lock))
    ran = cli("check", "m.onnx", "--against", "m.lock.json")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("error: m.lock.json: is a damaged lock: ")
    assert "ufunc" not in ran.err


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--against", '{"graphneurons_lock": 2, "neurons": 1, "neurons": 2}'),
        ("--baseline", '{"graphneurons_baseline": 1, "models": {"m.onnx": [], "m.onnx": []}}'),
    ],
)
def test_a_key_given_twice_is_refused(option: str, text: str, cli: Cli, tmp_path: Path) -> None:
    _model(tmp_path / "m.onnx")
    (tmp_path / "stored.json").write_text(text)
    ran = cli("check", "m.onnx", option, "stored.json")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "is given twice" in ran.err


def test_weights_too_large_for_a_lock_are_told(tmp_path: Path) -> None:
    made = HEALTHY["mlp"](np.random.default_rng(0))
    for tensor in made.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float64) * 1e300
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    onnx.save(made, tmp_path / "m.onnx")
    out, err = _started("lock", str(tmp_path / "m.onnx")).communicate(timeout=60)
    assert (out, err.count(b"\n")) == (b"", 1)
    assert err.endswith(b"m.onnx: fc1.weight: its norm is larger than 1e+100, which a lock cannot hold\n")


def test_nobody_hearing_the_error_changes_no_exit_code(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = _started("check", "nothing.onnx", stderr=full)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"nothing.onnx: not checked: no such file; check the path\n")


def test_a_working_directory_that_is_gone_is_told(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _model(tmp_path / "m.onnx")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ran = cli("check", tmp_path / "m.onnx")
    assert ran.code == 2
    assert ran.err == "error: the working directory: is gone or cannot be read; change to another\n"


def test_an_empty_name_is_told(cli: Cli) -> None:
    ran = cli("check", "")
    assert (ran.code, ran.err) == (2, "error: a MODEL is empty; name a file, a directory or a pattern\n")


def _opaque(path: Path) -> None:
    """Every weight meets an op nobody knows."""
    made = HEALTHY["mlp"](np.random.default_rng(0))
    made.opset_import.append(helper.make_opsetid("acme", 1))
    for name in ("/fc1/Gemm", "/fc2/Gemm"):
        node(made, name).domain = "acme"
    onnx.save(made, path)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 1),
        (["--fail-on", "error"], 2),
        (["--ignore", "GN101,GN602"], 2),
        (["--select", "GN2"], 2),
        (["--select", "GN2", "--exit-zero"], 2),
        (["--exit-zero"], 2),
        (["--select", "GN101,GN2", "--exit-zero"], 2),
        (["--write-baseline", "known.json"], 2),
        (["--select", "GN106,GN604"], 0),
    ],
)
def test_nothing_is_green_because_no_weight_could_be_labelled(
    arguments: list[str], code: int, cli: Cli, tmp_path: Path
) -> None:
    _opaque(tmp_path / "m.onnx")
    ran = cli("check", "m.onnx", *arguments)
    assert ran.code == code, ran.out
    if code == 2:
        assert ran.err.startswith("error: m.onnx: none of its weights can be labelled: ")
        assert ran.err.count("\n") == 1


def test_no_baseline_makes_a_model_pass_of_which_nothing_was_read(cli: Cli, tmp_path: Path) -> None:
    _opaque(tmp_path / "m.onnx")
    assert cli("check", "m.onnx", "--write-baseline", "known.json").code == 2
    assert not (tmp_path / "known.json").exists()
    structure = ["--select", "GN1,GN6", "--ignore", "GN103"]
    # The structure alone may be agreed on; with it no rule about weights passes.
    assert cli("check", "m.onnx", *structure, "--write-baseline", "known.json").code == 0
    assert cli("check", "m.onnx", *structure, "--baseline", "known.json").code == 0
    ran = cli("check", "m.onnx", "--baseline", "known.json", "--format", "json")
    assert (ran.code, json.loads(ran.out)["exit_code"], ran.err.count("\n")) == (2, 2, 1)
    assert ran.err.startswith("error: m.onnx: none of its weights can be labelled: ")


def test_sparsity_is_not_fulfilled_because_no_weight_could_be_read(cli: Cli, tmp_path: Path) -> None:
    _opaque(tmp_path / "m.onnx")
    assert cli("check", "m.onnx", "--select", "GN4").code == 0
    (tmp_path / "graphneurons.toml").write_text('[hardware]\nsparsity = "2:4"\n')
    assert cli("check", "m.onnx", "--select", "GN4").code == 2


def test_nothing_is_green_because_no_weight_could_be_read(cli: Cli, tmp_path: Path) -> None:
    text = helper.make_tensor("w", TensorProto.COMPLEX64, [8, 4], [1j] * 32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.COMPLEX64, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.COMPLEX64, [1, 4])],
        [text],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "m.onnx")
    assert "GN607" in cli("check", "m.onnx").out
    ran = cli("check", "m.onnx", "--select", "GN2")
    assert ran.code == 2
    assert "none of its weights can be read" in ran.err


@pytest.mark.parametrize("size", [0, 100, -4])
def test_a_data_file_that_is_too_short_is_told_with_the_weight(size: int, cli: Cli, tmp_path: Path) -> None:
    made = HEALTHY["mlp"](np.random.default_rng(0))
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    whole = (tmp_path / "m.data").stat().st_size
    os.truncate(tmp_path / "m.data", size if size >= 0 else whole + size)
    for arguments in ([], ["--exit-zero"], ["--select", "GN2", "--exit-zero"]):
        ran = cli("check", "m.onnx", *arguments)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert ran.err.startswith("error: m.onnx: fc")
        assert "m.data" in ran.err


def test_a_data_file_of_another_model_is_drift(cli: Cli, tmp_path: Path) -> None:
    for seed in range(2):
        made = HEALTHY["mlp"](np.random.default_rng(seed))
        path, data = tmp_path / f"m{seed}.onnx", f"m{seed}.data"
        onnx.save(made, path, save_as_external_data=True, location=data, size_threshold=0)
    assert cli("lock", "m0.onnx", "-o", "m0.lock.json").code == 0
    assert cli("check", "m0.onnx", "--against", "m0.lock.json").code == 0
    os.replace(tmp_path / "m1.data", tmp_path / "m0.data")
    assert cli("check", "m0.onnx").code == 0
    ran = cli("check", "m0.onnx", "--against", "m0.lock.json", "--format", "json")
    (report,) = json.loads(ran.out)["models"]
    assert ran.code == 1
    assert {each["layer"] for each in report["findings"] if each["code"] == "GN506"} == {"fc1", "fc2"}


def test_a_model_without_weights_is_clean(cli: Cli, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "m.onnx")
    assert cli("check", "m.onnx").code == 0


def _started(*arguments: str, limit: int | None = None, **streams: object) -> subprocess.Popen[bytes]:
    def restrict() -> None:
        # A shell that starts the tests in the background has them ignore interrupts.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "graphneurons", *arguments]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(command, env=environment(), start_new_session=True, preexec_fn=restrict, **given)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "m.onnx", "--format", "json", "-o", "old.txt"],
        ["check", "m.onnx", "--report", "sarif=old.txt"],
        ["check", "m.onnx", "--select", "GN2", "--write-baseline", "old.txt"],
        ["lock", "m.onnx", "-o", "old.txt"],
    ],
    ids=lambda arguments: arguments[-1] if arguments[0] == "check" else "lock",
)
def test_a_full_disk_leaves_the_old_file_whole(arguments: list[str], tmp_path: Path) -> None:
    made = HEALTHY["mlp"](np.random.default_rng(0))
    values = weight(made, "fc1.weight")
    values[:] = np.arange(24, dtype=np.float32)[:, None] % 3
    replace(made, "fc1.weight", values)
    onnx.save(made, tmp_path / "m.onnx")
    (tmp_path / "old.txt").write_text("old and whole")
    before = _held(tmp_path)
    process = _started(*arguments, limit=64)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err.count(b"\n")) == (2, 1)
    assert err.startswith(b"error: old.txt: File too large")
    assert _held(tmp_path) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output_is_no_success(tmp_path: Path) -> None:
    _model(tmp_path / "m.onnx")
    with open("/dev/full", "w") as full:
        process = _started("check", "m.onnx", stdout=full)
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err.count(b"\n")) == (2, 1)
    assert b"No space left on device" in err


def _large(folder: Path, name: str, rows: int, width: int) -> Path:
    """A Gemm whose weight is a sparse file of zeros but for three neurons."""
    random = np.random.default_rng(0)
    with (folder / f"{name}.data").open("wb") as file:
        file.truncate(rows * width * 4)
        for row in (0, rows // 2, rows - 1):
            file.seek(row * width * 4)
            file.write(random.normal(size=width).astype(np.float32).tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, width], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", f"{name}.data"), ("offset", "0"), ("length", str(rows * width * 4))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], name="fc", transB=1)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, rows])],
        [tensor],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


def _children(process: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == process:
                yield int(entry.name)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")


@needs_proc
@pytest.mark.parametrize(
    ("signals", "whole_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGINT, False, 130), (signal.SIGTERM, False, 143)],
    ids=["interrupt", "interrupt of the parent", "termination"],
)
def test_several_processes_end_at_once_and_leave_nothing(
    signals: signal.Signals, whole_group: bool, code: int, tmp_path: Path
) -> None:
    for number in range(3):
        _large(tmp_path, f"m{number}", 150_000, 65_536)
    (tmp_path / "old.txt").write_text("old and whole")
    before = sorted(os.listdir(tmp_path))
    process = _started("check", ".", "--jobs", "2", "-o", "old.txt")
    started = time.monotonic()
    # Two that check, and the one that multiprocessing keeps to tidy up; then they have something to do.
    while len(list(_children(process.pid))) < 3 and time.monotonic() < started + 60:
        time.sleep(0.05)
    time.sleep(1)
    children = list(_children(process.pid))
    assert len(children) >= 3
    assert process.poll() is None
    (os.killpg if whole_group else os.kill)(process.pid, signals)
    try:
        out, err = process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("it did not end")
    deadline = time.monotonic() + 5
    while any(map(_lives, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [each for each in children if _lives(each)] == []
    assert (process.returncode, out, err.strip()) == (code, b"", b"")
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "old.txt").read_text() == "old and whole"


@needs_proc
def test_a_process_that_dies_is_told_and_no_success(tmp_path: Path) -> None:
    for number in range(2):
        _large(tmp_path, f"m{number}", 150_000, 65_536)
    process = _started("check", ".", "--jobs", "2", "--format", "json", "--exit-zero")
    started = time.monotonic()
    # Each is begun again alone, once.
    while process.poll() is None and time.monotonic() < started + 60:
        time.sleep(0.2)
        for each in _children(process.pid):
            if b"spawn_main" in _command(each):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert b"the process that checked it died" in err
    assert b"Traceback" not in err
    assert [model["findings"] for model in json.loads(out)["models"]] == [[], []]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


PEAK = """
import sys
from graphneurons.cli.running import run
code = run(sys.argv[1:])
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
sys.stderr.write(f"{code} {peak * 1024}")
"""


@needs_proc
def test_a_model_larger_than_2_gb_takes_little_memory(tmp_path: Path) -> None:
    peaks = []
    for rows in (70, 70_000):
        path = _large(tmp_path, f"m{rows}", rows, 8192)
        command = [sys.executable, "-c", PEAK, "check", str(path), "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)
        code, peak = done.stderr.split()
        assert code == "1", done.stderr
        (finding,) = json.loads(done.stdout)["models"][0]["findings"]
        assert (finding["code"], finding["message"].split()[0]) == ("GN202", f"{rows - 3:,}")
        peaks.append(int(peak))
    assert (tmp_path / "m70000.data").stat().st_size > 2 << 30
    assert peaks[1] - peaks[0] < 256 * MEBIBYTE
