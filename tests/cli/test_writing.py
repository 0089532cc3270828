"""Reports in files: whole and new, or as they were. And the ways a run can end early."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import threading

import pytest

from graphneurons.cli import writing
from tests.cli.conftest import driver, environment
from tests.sample_analyses import mixture


@pytest.fixture(autouse=True)
def _samples(monkeypatch):
    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", lambda path, shapes, dims, *_: mixture())


def left_in(folder) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_new_file(cli, tmp_path):
    target = tmp_path / "report.json"
    ran = cli("analyze", "m.onnx", "--json", "-o", target)
    assert (ran.code, ran.out) == (0, "")
    assert json.loads(target.read_bytes())["totals"]["neurons"] == 1864
    assert left_in(tmp_path) == ["report.json"]


def test_the_file_holds_what_a_pipe_gets(cli, tmp_path):
    for options in ([], ["--json"], ["--format", "csv"], ["--format", "markdown"]):
        target = tmp_path / "report"
        cli("analyze", "m.onnx", "n.onnx", *options, "-o", target)
        assert target.read_text("utf-8") == cli("analyze", "m.onnx", "n.onnx", *options).out


def test_an_old_file_is_replaced_and_keeps_its_mode(cli, tmp_path):
    target = tmp_path / "report.txt"
    target.write_text("old")
    target.chmod(0o640)
    assert cli("analyze", "m.onnx", "-o", target).code == 0
    assert "neurons" in target.read_text("utf-8")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_follows_the_umask(cli, tmp_path):
    before = os.umask(0o027)
    try:
        cli("analyze", "m.onnx", "-o", tmp_path / "report.txt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.txt").stat().st_mode) == 0o640


def refused(cli, target, said):
    ran = cli("analyze", "m.onnx", "-o", target)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {target}: {said}\n"


def test_a_symbolic_link_is_refused(cli, tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    (tmp_path / "dangling.txt").symlink_to("nowhere.txt")
    refused(cli, tmp_path / "link.txt", "is a symbolic link; give -o the file it points to")
    refused(cli, tmp_path / "dangling.txt", "is a symbolic link; give -o the file it points to")
    assert (tmp_path / "real.txt").read_text() == "old"
    assert left_in(tmp_path) == ["dangling.txt", "link.txt", "real.txt"]


def test_a_directory_is_refused(cli, tmp_path):
    refused(cli, tmp_path, "is a directory; give -o a file name")


def test_devices_and_pipes_are_refused(cli, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    refused(cli, tmp_path / "fifo", "is not a regular file; leave -o out to write to standard output")
    refused(cli, "/dev/full", "is not a regular file; leave -o out to write to standard output")


def test_a_missing_directory_is_refused(cli, tmp_path):
    refused(cli, tmp_path / "no" / "r.txt", f"its directory {tmp_path}/no does not exist; make it first")


def test_a_file_in_place_of_the_directory_is_refused(cli, tmp_path):
    (tmp_path / "file").write_text("x")
    refused(cli, tmp_path / "file" / "r.txt", "cannot be written: Not a directory")


def test_a_read_only_directory_is_refused(cli, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    try:
        refused(cli, folder / "r.txt", f"its directory {folder} is not writable")
        assert left_in(folder) == []
    finally:
        folder.chmod(0o755)


def test_a_write_protected_file_is_refused_and_kept(cli, tmp_path):
    target = tmp_path / "r.txt"
    target.write_text("old")
    target.chmod(0o444)
    refused(cli, target, "is write-protected")
    assert target.read_text() == "old"


def test_the_model_itself_is_refused(cli, tmp_path):
    model = tmp_path / "m.onnx"
    model.write_text("precious")
    os.link(model, tmp_path / "same.onnx")
    for target in (model, tmp_path / "same.onnx"):
        ran = cli("analyze", model, "-o", target)
        assert ran.code == 2
        assert "is one of the models to read; write the report somewhere else" in ran.err
    assert model.read_text() == "precious"


@pytest.mark.parametrize("name", ["", ".", "..", "sub/"])
def test_senseless_names_are_refused(cli, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    ran = cli("analyze", "m.onnx", "-o", name)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")


def test_refusals_come_before_any_work(cli, tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", lambda *a: called.append(a))
    assert cli("analyze", "m.onnx", "-o", tmp_path).code == 2
    assert called == []


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_disk_leaves_the_old_file_whole(cli, tmp_path, monkeypatch, step, number):
    target = tmp_path / "r.txt"
    target.write_text("old")
    real = getattr(os, step)

    def fail(*arguments, **options):
        if step == "open" and not str(arguments[0]).endswith(".tmp"):
            return real(*arguments, **options)
        raise OSError(number, os.strerror(number), "some temporary name")

    monkeypatch.setattr(writing.os, step, fail)
    ran = cli("analyze", "m.onnx", "-o", target)
    monkeypatch.undo()
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {target}: {os.strerror(number)}\n" in ran.err
    assert target.read_text() == "old"
    assert left_in(tmp_path) == ["r.txt"]


def test_a_file_size_limit_leaves_the_old_file_whole(tmp_path):
    target = tmp_path / "r.txt"
    target.write_text("old")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    command = driver("mixture", "analyze", "m", "-o", str(target))
    done = subprocess.run(command, capture_output=True, env=environment(), preexec_fn=limit, timeout=60)
    assert done.returncode == 2
    assert f"error: {target}: File too large".encode() in done.stderr
    assert target.read_text() == "old"
    assert left_in(tmp_path) == ["r.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_whole(cli, tmp_path, monkeypatch, step):
    target = tmp_path / "r.txt"
    target.write_text("old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, step, interrupt)
    assert cli("analyze", "m.onnx", "-o", target).code == 130
    assert target.read_text() == "old"
    assert left_in(tmp_path) == ["r.txt"]


def test_a_failed_model_leaves_the_old_file_whole(cli, tmp_path, monkeypatch):
    from graphneurons.errors import LoadError

    def analysis_of(path, *_):
        if path == "bad.onnx":
            raise LoadError("is empty", file=path)
        return mixture()

    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", analysis_of)
    target = tmp_path / "r.json"
    target.write_text("old")
    assert cli("analyze", "bad.onnx", "-o", target).code == 2
    ran = cli("analyze", "good.onnx", "bad.onnx", "--json", "-o", target)
    assert ran.code == 2
    assert f"error: {target}: not written, as 1 of 2 models could not be analyzed\n" in ran.err
    assert target.read_text() == "old"
    assert left_in(tmp_path) == ["r.json"]


def test_eight_writers_at_once(tmp_path):
    target = tmp_path / "r.txt"
    texts = [chr(ord("a") + i) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=writing.replace, args=(str(target), text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts
    assert left_in(tmp_path) == ["r.txt"]


# --- the ways a run can end early


def test_interrupted(cli, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", interrupt)
    ran = cli("analyze", "m.onnx")
    assert (ran.code, ran.out) == (130, "")
    assert "Traceback" not in ran.err


def test_terminated(cli, monkeypatch, tmp_path):
    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        cli("analyze", "m.onnx", "-o", tmp_path / "r.txt")
    assert end.value.code == 143
    assert left_in(tmp_path) == []


def test_a_closed_pipe_is_quiet(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    command = driver("transformer", "analyze", "m", "m", "m")
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment(), timeout=60)
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_full_standard_output():
    with open("/dev/full", "wb") as full:
        command = driver("mixture", "analyze", "m")
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=60)
    assert done.returncode == 2
    assert b"error: standard output: No space left on device\n" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_closed_standard_output():
    command = driver("mixture", "analyze", "m")
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, env=environment(), timeout=60
    )
    assert done.returncode == 2
    assert b"error: standard output: standard output is closed\n" in done.stderr
    assert b"Traceback" not in done.stderr
