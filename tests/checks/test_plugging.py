"""Where it plugs in: the pytest plugin, the pre-commit hook and the script of the GitHub action, all run for real."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tests.checks.models import HEALTHY, replace, weight
from tests.checks.published import check_sarif
from tests.cli.conftest import environment

ROOT = Path(__file__).parents[2]
pytest_plugins = ["pytester"]


def _models(folder: Path) -> tuple[Path, Path]:
    """A healthy model and a sick one."""
    made = HEALTHY["mlp"](np.random.default_rng(0))
    onnx.save(made, folder / "good.onnx")
    values = weight(made, "fc1.weight")
    values[3] = np.nan
    replace(made, "fc1.weight", values)
    onnx.save(made, folder / "bad.onnx")
    return folder / "good.onnx", folder / "bad.onnx"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pytest in a process of its own, with the plugin and nothing else of this project."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def start(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess("-p", "no:graphneurons", "-p", "graphneurons.pytest_plugin", *arguments)

    return start


def test_models_are_tests(pytester: pytest.Pytester, run: Any) -> None:
    _models(pytester.path)
    run("--graphneurons", "good.onnx").assert_outcomes(passed=1)
    result = run("--graphneurons", "good.onnx", "--graphneurons", "bad.onnx")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*error GN201 non-finite*bad.onnx: fc1, fc1.weight", "*neuron 3"])


def test_models_are_shared_out_among_processes(pytester: pytest.Pytester, run: Any) -> None:
    _models(pytester.path)
    run("-p", "xdist", "-n", "2", "--graphneurons", "good.onnx", "--graphneurons", "bad.onnx").assert_outcomes(
        passed=1, failed=1
    )


def test_a_model_that_is_not_there_is_no_success(pytester: pytest.Pytester, run: Any) -> None:
    run("--graphneurons", "nothing.onnx").assert_outcomes(failed=1)
    result = run("--graphneurons", "nothing*.onnx")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no file matches this pattern*"])


def test_the_fixture_fails_a_test_with_the_findings(pytester: pytest.Pytester, run: Any) -> None:
    _models(pytester.path)
    pytester.makepyfile(
        """
        def test_good(graphneurons):
            assert graphneurons("good.onnx").findings == ()

        def test_ignored(graphneurons):
            graphneurons("bad.onnx", {"ignore": ["GN201"]})

        def test_bad(graphneurons):
            graphneurons("bad.onnx")
        """
    )
    result = run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*GN201 non-finite*"])


def test_the_policy_of_the_project_counts(pytester: pytest.Pytester, run: Any) -> None:
    _models(pytester.path)
    (pytester.path / "graphneurons.toml").write_text('ignore = ["GN201"]\n')
    run("--graphneurons", "bad.onnx").assert_outcomes(passed=1)
    (pytester.path / "strict.toml").write_text('select = ["GN2"]\n')
    run("--graphneurons", "bad.onnx", "--graphneurons-policy", "strict.toml").assert_outcomes(failed=1)


def _shim(folder: Path) -> dict[str, str]:
    """An environment in which ``graphneurons`` and ``python`` are those of this project."""
    programs = folder / "programs"
    programs.mkdir()
    for name, module in (("graphneurons", "-m graphneurons"), ("python", "")):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
        script.chmod(0o755)
    return environment(PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")


def test_the_hook_runs(tmp_path: Path) -> None:
    good, bad = _models(tmp_path)
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    entry = shlex.split(hook["entry"])
    env = _shim(tmp_path)
    clean = subprocess.run([*entry, good], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=120)
    assert (clean.returncode, clean.stderr) == (0, "")
    both = subprocess.run([*entry, good, bad], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=120)
    assert both.returncode == 1
    assert f"{bad}: fc1, fc1.weight: GN201 error" in both.stdout


@dataclass(frozen=True)
class Action:
    """The composite action, run step by step as the runner does: inputs with their defaults, expressions replaced."""

    inputs: Mapping[str, str]
    folder: Path
    env: Mapping[str, str]
    path: Path = ROOT

    def step(self, name: str) -> subprocess.CompletedProcess[str]:
        action = yaml.safe_load((ROOT / "action.yml").read_text())
        assert set(self.inputs) <= set(action["inputs"])
        assert all(value["required"] or "default" in value for value in map(_defaulted, action["inputs"].values()))
        known = {f"inputs.{key}": str(value.get("default", "")) for key, value in action["inputs"].items()}
        known |= {f"inputs.{key}": value for key, value in self.inputs.items()}
        known["github.action_path"] = str(self.path)
        (step,) = (each for each in action["runs"]["steps"] if each.get("name") == name)
        assert "${{" not in step["run"], "inputs in a script are code"
        given = {key: EXPRESSION.sub(lambda found: known[found[1]], text) for key, text in step["env"].items()}
        # https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#custom-shell
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(
            shell, capture_output=True, text=True, env={**self.env, **given}, cwd=self.folder, timeout=600
        )


EXPRESSION = re.compile(r"\$\{\{ ([a-z_.-]+) \}\}")


def _defaulted(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"required": False, **value}


def test_the_action_has_no_step_but_those_run_here() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert [step.get("uses", step.get("name")) for step in action["runs"]["steps"]] == [
        "actions/setup-python@v5", "Install", "Check",
    ]  # fmt: skip
    assert all(step["shell"] == "bash" for step in action["runs"]["steps"] if "run" in step)
    used = set(EXPRESSION.findall(yaml.safe_dump(action["runs"])))
    assert used == {*(f"inputs.{name}" for name in action["inputs"]), "github.action_path"}


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"models": "good.onnx"}, 0),
        ({"models": "good.onnx\nbad.onnx\n"}, 1),
        ({"models": "*.onnx", "config": "lax.toml"}, 0),
        ({"models": "bad.onnx", "baseline": "known.json"}, 0),
        ({"models": "dead.onnx"}, 1),
        ({"models": "dead.onnx", "fail-on": "error"}, 0),
        ({"models": "bad.onnx", "against": "good.onnx", "config": "drift.toml"}, 1),
        ({"models": "none*.onnx"}, 2),
        ({"models": "$(touch hacked).onnx; touch hacked"}, 2),
        ({"models": "--help"}, 2),
        ({"models": ""}, 2),
    ],
    ids=lambda value: re.sub(r"\W+", "_", str(value)),
)
def test_the_script_of_the_action_runs(inputs: dict[str, str], code: int, tmp_path: Path) -> None:
    _, bad = _models(tmp_path)
    dead = onnx.load(bad)
    values = weight(dead, "fc1.weight")
    values[3] = 0
    replace(dead, "fc1.weight", values)
    onnx.save(dead, tmp_path / "dead.onnx")
    (tmp_path / "lax.toml").write_text('ignore = ["GN2"]\n')
    (tmp_path / "drift.toml").write_text('select = ["GN5"]\n')
    env = _shim(tmp_path) | {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "GITHUB_OUTPUT": os.devnull}
    if "baseline" in inputs:
        writing = ["graphneurons", "check", bad, "--write-baseline", "known.json"]
        subprocess.run(writing, check=True, env=env, cwd=tmp_path)
    (tmp_path / "summary.md").write_text("before\n")
    # A folder of the checked repository is not taken for a package that is imported.
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "__init__.py").write_text("raise SystemExit(77)\n")
    ran = Action({"sarif": "out.sarif", **inputs}, tmp_path, env).step("Check")
    assert ran.returncode == code, ran.stderr
    assert not (tmp_path / "hacked").exists()
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("before\n")
    if code == 2:
        assert ran.stderr.startswith(("error: ", "Usage: "))
        return
    check_sarif(json.loads((tmp_path / "out.sarif").read_text()))
    assert summary.count("\n## `") == len(inputs["models"].replace("*.onnx", "a\nb\nc").split())
    assert ("::error file=" in ran.stdout or "::warning file=" in ran.stdout) == (code == 1 or "fail-on" in inputs)


@pytest.mark.slow
@pytest.mark.registry
def test_the_action_installs_and_checks_in_a_fresh_environment(tmp_path: Path) -> None:
    _models(tmp_path)
    venv.create(tmp_path / "venv", with_pip=True)
    env = _outside()
    env["PATH"] = f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{env['PATH']}"
    project = _project(tmp_path / "action")
    action = Action({"models": "good.onnx\nbad.onnx", "sarif": "out.sarif"}, tmp_path, env, project)
    installed = action.step("Install")
    assert installed.returncode == 0, installed.stderr
    ran = action.step("Check")
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.count("::error file=bad.onnx,title=GN201 non-finite::") == 1
    check_sarif(json.loads((tmp_path / "out.sarif").read_text()))


def _project(folder: Path) -> Path:
    """This project as it would be cloned: a repository of its own, with what an installation takes."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml", "action.yml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "graphneurons", folder / "graphneurons", ignore=shutil.ignore_patterns("__pycache__"))
    return _repository(folder)


def _repository(folder: Path) -> Path:
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*COMMITTER, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", folder, *command], check=True, timeout=60)
    return folder


COMMITTER = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]


def _outside(**changes: str) -> dict[str, str]:
    """An environment that knows nothing of this checkout, in which pip installs what the tests are run with."""
    found = environment(PIP_CONSTRAINT=str(ROOT / "constraints.txt"), PIP_DISABLE_PIP_VERSION_CHECK="1", **changes)
    del found["PYTHONPATH"]
    return {name: value for name, value in found.items() if not name.startswith("GIT_")}


@pytest.mark.slow
@pytest.mark.registry
def test_pre_commit_finds_installs_and_runs_the_hook(tmp_path: Path) -> None:
    project = _project(tmp_path / "project")
    work = tmp_path / "work"
    work.mkdir()
    _models(work)
    (work / "bad.onnx").rename(tmp_path / "bad.onnx")
    (work / "notes.txt").write_text("no model\n")
    _repository(work)
    revision = subprocess.run(["git", "-C", project, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    hooks = {"repo": str(project), "rev": revision.stdout.strip(), "hooks": [{"id": "graphneurons"}]}
    (work / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [hooks]}))
    env = _outside(PRE_COMMIT_HOME=str(tmp_path / "home"))

    def hook(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pre_commit", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=work, timeout=600)

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, env=env, cwd=work, timeout=300)

    clean = hook("run", "--all-files")
    assert (clean.returncode, clean.stdout.count("Passed")) == (0, 1), clean.stdout + clean.stderr
    assert hook("install").returncode == 0
    git("add", ".pre-commit-config.yaml")
    unrelated = git(*COMMITTER, "commit", "-m", "no model changed")
    assert unrelated.returncode == 0, unrelated.stderr
    assert "Skipped" in unrelated.stderr
    shutil.copy(tmp_path / "bad.onnx", work / "bad.onnx")
    git("add", "bad.onnx")
    refused = git(*COMMITTER, "commit", "-m", "a model with NaN")
    assert refused.returncode == 1
    assert "- hook id: graphneurons\n- exit code: 1\n" in refused.stderr
    assert "bad.onnx: fc1, fc1.weight: GN201 error" in refused.stderr
    assert "good.onnx" not in refused.stderr
    assert git("log", "--format=%s").stdout.splitlines() == ["no model changed", "first"]
    git("rm", "-q", "-f", "bad.onnx")
    made = HEALTHY["mlp"](np.random.default_rng(0))
    onnx.save(made, work / "big.onnx", save_as_external_data=True, location="big.onnx.data", size_threshold=0)
    git("add", ".")
    assert git(*COMMITTER, "commit", "-m", "external data").returncode == 0
    with (work / "big.onnx.data").open("r+b") as data:
        data.write(b"\xff" * 8)
    git("add", "big.onnx.data")
    refused = git(*COMMITTER, "commit", "-m", "only the data changed")
    assert refused.returncode == 1
    assert "big.onnx: fc1, fc1.weight: GN201 error" in refused.stderr
