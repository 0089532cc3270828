"""Pipes, terminals, widths, colours and encodings."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from tests.cli.conftest import driver, environment

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def in_terminal(columns: int, *arguments: str, sample: str = "mixture", **changes: str) -> str:
    """What a terminal of that width receives on stdout; stderr goes to a pipe."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = driver(sample, *arguments)
    env = environment(TERM="xterm") | changes
    running = subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, env=env, stdin=subprocess.DEVNULL)
    os.close(follower)
    received = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        received += piece
    os.close(leader)
    assert running.wait(60) == 0
    return received.decode("utf-8").replace("\r\n", "\n")


def test_pipes_get_neither_colours_nor_limits(process):
    ran = process("analyze", "m", sample="mixture")
    assert "\x1b" not in ran.out
    assert max(map(len, ran.out.splitlines())) > 120


@pytest.mark.parametrize("columns", [40, 50, 60, 80, 120])
def test_columns_limit_pipes_too(process, columns):
    ran = process("analyze", "m", sample="mixture", COLUMNS=str(columns))
    assert max(map(len, ran.out.splitlines())) <= columns


@pytest.mark.parametrize("columns", ["", "0", "-5", "wide", "99999999999", "١٢"])
def test_senseless_columns_are_ignored(process, columns):
    assert (
        process("analyze", "m", sample="mixture", COLUMNS=columns).out == process("analyze", "m", sample="mixture").out
    )


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_terminals_get_colours_and_their_width(columns):
    out = in_terminal(columns, "analyze", "m")
    assert "\x1b[1;32m" in out
    assert max(len(ANSI.sub("", line)) for line in out.splitlines()) <= columns


@pytest.mark.parametrize("changes", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_terminals_without_colours(changes):
    assert "\x1b" not in in_terminal(80, "analyze", "m", **changes)


def test_no_color_changes_nothing_but_colours():
    assert ANSI.sub("", in_terminal(80, "analyze", "m")) == in_terminal(80, "analyze", "m", NO_COLOR="1")


def test_force_color_colours_pipes(process):
    assert "\x1b[1;32m" in process("analyze", "m", sample="mixture", FORCE_COLOR="1").out


def test_empty_no_color_means_nothing(process):
    assert "\x1b[" in process("analyze", "m", sample="mixture", FORCE_COLOR="1", NO_COLOR="").out


@pytest.mark.parametrize("format", ["json", "csv", "markdown"])
def test_data_is_never_coloured(process, format):
    assert "\x1b" not in process("analyze", "m", "--format", format, sample="mixture", FORCE_COLOR="1").out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("by", ["layer", "scope", "op"])
def test_other_encodings_get_plain_marks(process, encoding, by):
    ran = process("analyze", "m", "--by", by, sample="mixture", PYTHONIOENCODING=encoding, encoding="ascii")
    assert ran.code == 0
    assert "x 147" in ran.out if by == "layer" else "|- " in ran.out or by == "op"
    assert "?" not in ran.out


def test_the_c_locale(process):
    ran = process(
        "analyze", "m", sample="mixture", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", encoding="ascii"
    )
    assert ran.code == 0
    assert "x 147" in ran.out


def test_names_an_encoding_lacks_are_escaped(process, tmp_path):
    from tests.cli.conftest import save

    path = save(tmp_path / "重み.onnx")
    ran = process("analyze", path, PYTHONIOENCODING="ascii", encoding="ascii")
    assert ran.code == 0
    assert "\\u91cd\\u307f.onnx" in ran.out


def test_the_same_without_home_and_temporary_directory(tiny):
    command = [sys.executable, "-m", "graphneurons", "analyze", str(tiny)]
    bare = {"PYTHONPATH": environment()["PYTHONPATH"], "LC_ALL": "C"}
    done = subprocess.run(command, env=bare, capture_output=True, timeout=60, cwd="/")
    usual = subprocess.run(command, env=environment(), capture_output=True, timeout=60, cwd="/")
    assert done.returncode == 0
    assert done.stdout == usual.stdout


class Terminal:
    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None:
        return


def test_progress_only_for_people(monkeypatch, capsys):
    from graphneurons.cli.writing import progress

    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with progress("analyzing a\x1b[31m\nb", terminal):
        assert "analyzing a\\x1b[31m\\nb" in terminal.written
    assert terminal.written.endswith("\r\x1b[K")
    with progress("analyzing"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TERM", "dumb")
    dumb = Terminal()
    with progress("analyzing", dumb):
        pass
    assert dumb.written == ""
