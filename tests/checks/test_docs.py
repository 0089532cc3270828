"""docs/check.md is true: its commands run, its examples print what it says, its tables name what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from graphneurons.checks.policy import BUDGETS, parse_policy
from graphneurons.checks.registry import checks
from graphneurons.cli.check import FORMATS, command
from tests.checks.models import HEALTHY, replace, weight
from tests.cli.conftest import Ran, environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    (part.split("  #")[0].strip())
    for kind, text in BLOCKS
    if kind == "sh"
    for part in text.splitlines()
    if part.strip()
]
Cli = Callable[..., Ran]


def blocks(kind: str) -> list[str]:
    return [text for each, text in BLOCKS if each == kind]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page speaks of: a NaN in neuron 3, neuron 5 dead; a healthy one, before and after; a folder."""
    monkeypatch.chdir(tmp_path)
    made = HEALTHY["mlp"](np.random.default_rng(0))
    (tmp_path / "models").mkdir()
    for name in ("old.onnx", "new.onnx", "models/a.onnx", "models/b.onnx"):
        onnx.save(made, tmp_path / name)
    values = weight(made, "fc1.weight")
    values[3, 2], values[5] = np.nan, 0
    replace(made, "fc1.weight", values)
    onnx.save(made, tmp_path / "model.onnx")


def test_commands_run_in_the_order_of_the_page(cli: Cli, tmp_path: Path) -> None:
    assert len(COMMANDS) > 10
    for each in COMMANDS:
        program, *arguments = shlex.split(each)
        assert program == "graphneurons"
        ran = cli(*arguments, *(["--isolated"] if arguments[0] == "check" else []))
        is_sick = arguments[:2] == ["check", "model.onnx"]
        expected = int(is_sick and not {"--baseline", "--write-baseline", "GN1,GN3"} & {*arguments})
        assert (ran.code, ran.err) == (expected, ""), each
    assert {"known.json", "model.lock.json", "findings.sarif", "summary.md"} <= {*os.listdir(tmp_path)}


def test_the_example_prints_what_the_page_says(cli: Cli) -> None:
    (example,) = blocks("console")
    first, _, output = example.partition("\n")
    assert cli(*shlex.split(first)[2:]).out == output


def test_the_policy_of_the_page_is_one() -> None:
    (text,) = blocks("toml")
    policy = parse_policy(tomllib.loads(text), "policy")
    assert policy.thresholds["GN208"] == {"largest": 1e5}


def _first_cells(title: str) -> list[str]:
    section = TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| `")]


def test_the_tables_name_all_there_is() -> None:
    from graphneurons.checks.policy import _KEYS

    keys = [key for cell in _first_cells("Policy") for key in re.findall(r"`([a-z-]+)`", cell)]
    assert sorted(keys) == sorted(_KEYS)
    assert [cell.strip("`") for cell in _first_cells("Formats")] == ["--format", *FORMATS]
    options = [name for cell in _first_cells("Examples") for name in re.findall(r"(--?[a-z-]+)", cell)]
    assert sorted(options) == sorted(name for each in command.params for name in each.opts if name.startswith("-"))
    assert all(f"`{name}`" in TEXT for name in BUDGETS)
    families = {code[:3] for code in checks()}
    assert {cell[:3] for cell in re.findall(r"^\| (GN\d) ", TEXT, re.MULTILINE)} == families


def _program(folder: Path) -> dict[str, str]:
    """An environment in which ``graphneurons`` is this one, and pre-commit keeps to ``folder``."""
    programs = folder / "programs"
    programs.mkdir()
    script = programs / "graphneurons"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m graphneurons "$@"\n')
    script.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    found = environment(PATH=path, PRE_COMMIT_HOME=str(folder / "home"))
    return {name: value for name, value in found.items() if not name.startswith("GIT_")}


def test_the_local_hook_of_the_page_runs(tmp_path: Path) -> None:
    local, remote = (each for each in map(yaml.safe_load, blocks("yaml")) if isinstance(each, dict) and "repos" in each)
    assert remote["repos"][0]["hooks"][0]["id"] == "graphneurons"
    env = _program(tmp_path)
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(local))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(arguments, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=120)

    assert run("git", "init", "-q").returncode == 0
    assert run("git", "add", "models", ".pre-commit-config.yaml").returncode == 0
    clean = run(sys.executable, "-m", "pre_commit", "run", "--all-files")
    assert (clean.returncode, clean.stdout.count("Passed")) == (0, 1), clean.stdout + clean.stderr
    assert run("git", "add", "model.onnx").returncode == 0
    refused = run(sys.executable, "-m", "pre_commit", "run")
    assert refused.returncode == 1
    assert "model.onnx: fc1, fc1.weight: GN201 error" in refused.stdout


def test_the_steps_of_the_page_give_the_action_what_it_takes() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps: list[dict[str, Any]] = next(each for each in map(yaml.safe_load, blocks("yaml")) if isinstance(each, list))
    given = steps[0]["with"]
    assert set(given) <= set(action["inputs"])
    assert given["sarif"] == steps[1]["with"]["sarif_file"]
    said = set(re.findall(r"`([a-z-]+)`", TEXT.partition("Other inputs:")[2].partition("### GitLab")[0]))
    assert said | set(given) == set(action["inputs"])


def test_the_job_of_the_page_runs(tmp_path: Path) -> None:
    (job,) = (each["models"] for each in map(yaml.safe_load, blocks("yaml")) if "models" in each)
    for line in job["script"]:
        ran = subprocess.run(line, shell=True, env=_program(tmp_path), cwd=tmp_path, timeout=120, capture_output=True)
        assert ran.returncode == 0, ran.stderr
    assert (tmp_path / job["artifacts"]["reports"]["codequality"]).read_text() == "[]\n"


def test_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    program, fixture = blocks("python")
    with pytest.raises(Exception, match="GN201 fc1: 1 of 24 neurons with NaN"):
        exec(compile(program, "check.md", "exec"), {})
    exec(compile(program.replace("report.raise_for_findings()\n", ""), "check.md", "exec"), {})
    assert capsys.readouterr().out.startswith("GN201 fc1 (3,) {'nan': 1")
    assert fixture.startswith("def test_model(graphneurons):")


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()
