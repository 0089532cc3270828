"""Where it plugs in: the pytest plugin, the pre-commit hook and the script of the GitHub action, all run for real."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from tests.checks.models import HEALTHY, replace, weight
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


@pytest.mark.parametrize(("models", "code"), [("good.onnx", 0), ("good.onnx\nbad.onnx\n", 1), ("none*.onnx", 2)])
def test_the_script_of_the_action_runs(models: str, code: int, tmp_path: Path) -> None:
    _models(tmp_path)
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = action["runs"]["steps"][-1]
    assert "${{" not in step["run"]
    assert {name for text in step["env"].values() for name in action["inputs"] if f"inputs.{name} " in text}
    given = dict.fromkeys(step["env"], "") | {
        "MODELS": models,
        "SARIF": "out.sarif",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    env = _shim(tmp_path) | given
    ran = subprocess.run(
        ["bash", "-c", step["run"]], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=120
    )
    assert ran.returncode == code, ran.stderr
    if code != 2:
        assert (tmp_path / "out.sarif").exists()
        assert "## `good.onnx`" in (tmp_path / "summary.md").read_text()
    assert ("::error file=bad.onnx" in ran.stdout) == (code == 1)
