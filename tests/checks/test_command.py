"""`graphneurons check`: exit codes, formats, policies, baselines; never green because nothing was read."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest

from graphneurons.checks.base import ModelReport
from graphneurons.checks.registry import checks
from graphneurons.cli.check import Task
from tests.checks.models import HEALTHY, replace, weight
from tests.checks.published import check_junit, check_sarif
from tests.cli.conftest import Ran

ROOT = Path(__file__).parents[2]
RULES = sum(not code.startswith("GN5") for code in checks())
SCHEMA = json.loads((ROOT / "docs" / "check.schema.json").read_text())

Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def healthy(path: Path, name: str = "mlp") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(HEALTHY[name](np.random.default_rng(0)), path)
    return path


def sick(path: Path) -> Path:
    """A NaN in neuron 3 (error), neuron 5 dead (warning), neuron 7 constant (info)."""
    made = HEALTHY["mlp"](np.random.default_rng(0))
    values = weight(made, "fc1.weight")
    values[3, 2], values[5], values[7] = np.nan, 0, 0.5
    replace(made, "fc1.weight", values)
    onnx.save(made, path)
    return path


def test_a_clean_model_exits_with_0(cli: Cli, tmp_path: Path) -> None:
    ran = cli("check", healthy(tmp_path / "m.onnx"))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{tmp_path}/m.onnx: no findings of {RULES} rules\n"


def test_findings_exit_with_1_and_say_how_to_fix_them(cli: Cli, tmp_path: Path) -> None:
    ran = cli("check", sick(tmp_path / "m.onnx"))
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0] == f"error GN201 non-finite  {tmp_path}/m.onnx: fc1, fc1.weight"
    assert lines[1] == "  1 of 24 neurons with NaN or infinite weights (1 NaN, 0 infinite)"
    assert lines[2] == "  neuron 3"
    assert lines[3].startswith("  fix: Go back to a checkpoint without them")
    assert lines[-1] == f"{tmp_path}/m.onnx: 1 error, 1 warning, 1 info"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--select", "GN206"], 0),
        (["--select", "GN206", "--fail-on", "info"], 1),
        (["--select", "GN202", "--fail-on", "error"], 0),
        (["--select", "GN202"], 1),
        (["--ignore", "GN2"], 0),
        (["--ignore", "GN2", "--select", "GN201"], 1),
        (["--ignore", "GN201,GN202"], 0),
        (["--select", "GN1", "--extend-select", "GN201"], 1),
        (["--exit-zero"], 0),
    ],
)
def test_exit_codes_follow_what_was_asked(arguments: list[str], code: int, cli: Cli, tmp_path: Path) -> None:
    assert cli("check", sick(tmp_path / "m.onnx"), *arguments).code == code


def test_concise_is_one_line_per_finding(cli: Cli, tmp_path: Path) -> None:
    ran = cli("check", sick(tmp_path / "m.onnx"), "--format", "concise", "--select", "GN202")
    assert ran.out.splitlines()[0] == (
        f"{tmp_path}/m.onnx: fc1, fc1.weight, axis 0: GN202 warning: 1 of 24 neurons with nothing but zeros"
    )


@pytest.mark.parametrize("arguments", [["--select", "GN5"], ["--select", "GN501", "--ignore", "GN501"]])
def test_no_rule_at_all_is_no_success(arguments: list[str], cli: Cli, tmp_path: Path) -> None:
    ran = cli("check", healthy(tmp_path / "m.onnx"), *arguments)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "no rule is selected" in ran.err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.onnx", "no such file; check the path"),
        ("broken.onnx", "broken.onnx"),
        ("empty/", "no .onnx file in this directory"),
        ("nothing*.onnx", "no file matches this pattern"),
    ],
)
def test_what_cannot_be_looked_at_exits_with_2(name: str, message: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    (tmp_path / "empty").mkdir()
    ran = cli("check", tmp_path / name, "--exit-zero")
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_missing_weights_exit_with_2_but_structure_can_be_checked(cli: Cli, tmp_path: Path) -> None:
    made = HEALTHY["mlp"](np.random.default_rng(0))
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    ran = cli("check", tmp_path / "m.onnx")
    assert ran.code == 2
    assert "m.data" in ran.err
    assert cli("check", tmp_path / "m.onnx", "--select", "GN106").code == 0


def test_one_unreadable_model_does_not_hide_the_others(cli: Cli, tmp_path: Path) -> None:
    sick(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"")
    ran = cli("check", tmp_path, "--format", "json", "--jobs", "1")
    assert ran.code == 2
    report = json.loads(ran.out)
    jsonschema.validate(report, SCHEMA)
    assert [len(model["findings"]) for model in report["models"]] == [3, 0]
    assert report["models"][1]["error"] is not None


def test_models_are_checked_in_parallel_with_the_same_result(process: Cli, tmp_path: Path) -> None:
    for name in ("repo/a/1/model.onnx", "repo/b/1/model.onnx"):
        healthy(tmp_path / name)
    one = process("check", tmp_path / "repo", "--jobs", "1", "--format", "json")
    two = process("check", tmp_path / "repo", "--jobs", "2", "--format", "json")
    assert (two.code, two.err) == (0, "")
    assert one.out == two.out
    assert len(json.loads(two.out)["models"]) == 2


def test_globs_name_models(cli: Cli, tmp_path: Path) -> None:
    healthy(tmp_path / "deep" / "x" / "m.onnx")
    sick(tmp_path / "n.onnx")
    ran = cli("check", f"{tmp_path}/**/m*.onnx")
    assert (ran.code, ran.out.count("no findings")) == (0, 1)


def test_external_data_stands_for_its_model(cli: Cli, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        healthy(tmp_path / name)
    for name in ("a.onnx.data", "b.onnx_data", "shared.data"):
        (tmp_path / name).write_bytes(b"data")

    def checked(*names: str) -> list[str]:
        ran = cli("check", *(tmp_path / name for name in names), "--format", "json", "--jobs", "1")
        return [Path(model["path"]).name for model in json.loads(ran.out)["models"]]

    assert checked("a.onnx.data") == ["a.onnx"]
    assert checked("b.onnx_data", "b.onnx") == ["b.onnx"]
    assert checked("shared.data") == ["a.onnx", "b.onnx"]
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "x.data").write_bytes(b"data")
    ran = cli("check", tmp_path / "alone" / "x.data")
    assert ran.code == 2
    assert "is external data by its name, and no .onnx file lies beside it" in ran.err


def test_a_range_of_an_input_that_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    ran = cli("check", healthy(tmp_path / "m.onnx"), "--input-range", "X=0,1", "--exit-zero")
    assert ran.code == 2
    assert ran.err.endswith("m.onnx: --input-range: no input is called 'X'; the inputs are x\n")
    # A policy may serve several models.
    (tmp_path / "graphneurons.toml").write_text("[input-ranges]\nX = [0, 1]\n")
    assert cli("check", tmp_path / "m.onnx").code == 0


def test_a_model_named_twice_is_checked_once(cli: Cli, tmp_path: Path) -> None:
    for name in "mn":
        healthy(tmp_path / f"{name}.onnx")
    ran = cli("check", "m.onnx", "n.onnx", "./m.onnx", "*.onnx", "--format", "concise", "--jobs", "1")
    assert ran.out == f"m.onnx: no findings of {RULES} rules\nn.onnx: no findings of {RULES} rules\n"


def test_a_model_without_permission_does_not_hide_the_others(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is asked before a file is opened; root may read everything.
    monkeypatch.setattr("os.access", lambda path, *_: "closed" not in str(path))
    healthy(tmp_path / "closed.onnx")
    ran = cli("check", "closed.onnx", healthy(tmp_path / "open.onnx"), "--jobs", "1")
    assert "open.onnx: no findings" in ran.out


def test_wrong_usage_is_one_sentence_after_another(cli: Cli) -> None:
    ran = cli("check", "m.onnx", "--config", "a", "--isolated")
    assert (ran.code, ran.err) == (
        2, "error: --config and --isolated exclude each other. Try 'graphneurons check --help'.\n"
    )  # fmt: skip


def test_explain_lists_a_family(cli: Cli) -> None:
    ran = cli("explain", "GN3")
    told = [line.split()[0] for line in ran.out.splitlines() if line]
    assert told == ["GN3", *(code for code in checks() if code.startswith("GN3"))]


def test_a_person_is_told_what_is_checked_while_it_is(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    @contextmanager
    def progress(doing: str) -> Iterator[None]:
        told.append(doing)
        yield
        told.append("done")

    def check_one(task: Task) -> ModelReport:
        told.append(Path(task.path).name)
        return ModelReport(task.path)

    monkeypatch.setattr("graphneurons.cli.writing.progress", progress)
    monkeypatch.setattr("graphneurons.cli.check.check_one", check_one)
    healthy(tmp_path / "a.onnx")
    cli("check", tmp_path / "a.onnx")
    assert told == [f"checking {tmp_path / 'a.onnx'} (1 of 1)", "a.onnx", "done"]


def test_json_has_the_promised_fields(cli: Cli, tmp_path: Path) -> None:
    report = json.loads(cli("check", sick(tmp_path / "m.onnx"), "--format", "json").out)
    jsonschema.validate(report, SCHEMA)
    first = report["models"][0]["findings"][0]
    assert (first["code"], first["severity"], first["layer"], first["weight"]) == (
        "GN201",
        "error",
        "fc1",
        "fc1.weight",
    )
    assert first["neurons"] == [3]
    assert first["evidence"] == {"nan": 1, "inf": 0}


def test_sarif_is_valid_and_has_one_result_per_rule_and_layer(cli: Cli, tmp_path: Path) -> None:
    found = json.loads(cli("check", sick(tmp_path / "m.onnx"), "--format", "sarif").out)
    check_sarif(found)
    run = found["runs"][0]
    keys = [(r["ruleId"], r["locations"][0]["logicalLocations"][0]["name"]) for r in run["results"]]
    assert keys == [("GN201", "fc1"), ("GN202", "fc1"), ("GN206", "fc1")]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "note"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    assert run["invocations"][0]["executionSuccessful"] is True
    assert all(result["partialFingerprints"] for result in run["results"])


def test_sarif_says_what_could_not_be_read(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "b.onnx").write_bytes(b"")
    ran = cli("check", tmp_path / "b.onnx", "--format", "sarif")
    found = json.loads(ran.out)
    check_sarif(found)
    assert ran.code == 2
    assert found["runs"][0]["invocations"][0]["executionSuccessful"] is False


def test_junit_counts_failures_and_errors(cli: Cli, tmp_path: Path) -> None:
    sick(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"")
    text = cli("check", tmp_path, "--format", "junit", "--jobs", "1").out
    check_junit(text)
    root = ElementTree.fromstring(text)
    assert (root.tag, root.get("failures"), root.get("errors")) == ("testsuites", "2", "1")
    first, second = root.findall("testsuite")
    assert len(first.findall("testcase")) == int(str(first.get("tests")))
    failed = [case.get("name") for case in first.findall("testcase") if case.find("failure") is not None]
    assert failed == ["GN201 non-finite", "GN202 dead-neuron"]
    assert second.find("testcase/error") is not None


def test_github_annotations_are_escaped(cli: Cli, tmp_path: Path) -> None:
    ran = cli("check", sick(tmp_path / "a,b:c%.onnx"), "--format", "github")
    lines = ran.out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::notice"]
    assert "a%2Cb%3Ac%25.onnx,title=GN201 non-finite::fc1, fc1.weight: " in lines[0]


def test_gitlab_has_unique_fingerprints(cli: Cli, tmp_path: Path) -> None:
    issues: list[dict[str, Any]] = json.loads(cli("check", sick(tmp_path / "m.onnx"), "--format", "gitlab").out)
    assert [issue["severity"] for issue in issues] == ["critical", "major", "info"]
    assert len({issue["fingerprint"] for issue in issues}) == 3
    assert all(issue["location"]["lines"]["begin"] == 1 for issue in issues)


def test_markdown_is_a_table(cli: Cli, tmp_path: Path) -> None:
    out = cli("check", sick(tmp_path / "m.onnx"), "--format", "markdown").out
    assert out.splitlines()[2] == "1 error, 1 warning, 1 info."
    assert "| error | GN201 non-finite | `fc1` | `fc1.weight` | 3 | `1 of 24 neurons" in out


@pytest.mark.parametrize("format", ["full", "concise", "json", "sarif", "junit", "github", "gitlab", "markdown"])
def test_hostile_names_stay_data_in_every_format(format: str, cli: Cli, tmp_path: Path) -> None:
    bad = "w\x1b[31m\n::error::x\u202e<script>|`\ud7ff\x00]]>##vso[a"
    made = HEALTHY["mlp"](np.random.default_rng(0))
    values = weight(made, "fc1.weight")
    values[3] = np.nan
    replace(made, "fc1.weight", values)
    next(each for each in made.graph.initializer if each.name == "fc1.weight").name = bad
    made.graph.node[0].input[1] = bad
    made.graph.node[0].name = bad
    onnx.save(made, tmp_path / "m.onnx")
    ran = cli("check", tmp_path / "m.onnx", "--format", format)
    assert ran.code == 1, ran.err
    assert not [c for c in ran.out if c != "\n" and (ord(c) < 32 or c in "\u202e\x7f")]
    assert "##vso" not in ran.out
    starts = [line for line in ran.out.splitlines() if line.startswith("::")]
    assert len(starts) == (ran.out.count("\n") if format == "github" else 0)
    if format == "junit":
        check_junit(ran.out)
    if format in ("json", "sarif", "gitlab"):
        assert json.loads(ran.out)
    if format == "sarif":
        check_sarif(json.loads(ran.out))


def test_reports_are_the_same_every_time(cli: Cli, tmp_path: Path) -> None:
    sick(tmp_path / "m.onnx")
    runs = {cli("check", "m.onnx", "--format", "json").out for _ in range(3)}
    assert len(runs) == 1


def test_a_baseline_lets_only_new_findings_fail(cli: Cli, tmp_path: Path) -> None:
    sick(tmp_path / "m.onnx")
    assert cli("check", "m.onnx", "--write-baseline", "known.json").code == 0
    ran = cli("check", "m.onnx", "--baseline", "known.json")
    assert ran.code == 0
    assert ran.out == f"m.onnx: no findings of {RULES} rules (3 more in the baseline)\n"
    made = onnx.load(tmp_path / "m.onnx")
    values = weight(made, "fc2.weight")
    values[0] = 0
    replace(made, "fc2.weight", values)
    onnx.save(made, tmp_path / "m.onnx")
    again = cli("check", "m.onnx", "--baseline", "known.json", "--format", "concise")
    assert again.code == 1
    assert "fc2, fc2.weight, axis 0: GN202" in again.out


@pytest.mark.parametrize("text", ["", "[]", '{"graphneurons_baseline": 1, "models": {"m.onnx": [1]}}', "\x00"])
def test_a_damaged_baseline_is_refused(text: str, cli: Cli, tmp_path: Path) -> None:
    sick(tmp_path / "m.onnx")
    (tmp_path / "known.json").write_text(text)
    ran = cli("check", "m.onnx", "--baseline", "known.json", "-o", "out.txt")
    assert ran.code == 2
    assert "known.json: is " in ran.err
    assert not (tmp_path / "out.txt").exists()
    assert (tmp_path / "known.json").read_text() == text


def test_nothing_that_is_read_is_written_over(cli: Cli, tmp_path: Path) -> None:
    sick(tmp_path / "m.onnx")
    assert cli("check", "m.onnx", "--write-baseline", "known.json").code == 0
    before = (tmp_path / "known.json").read_bytes()
    for option in ("--baseline", "--against", "--config"):
        ran = cli("check", "m.onnx", option, "known.json", "-o", "known.json")
        assert ran.code == 2
        assert ran.err.count("\n") == 1
    assert cli("check", "m.onnx", "-o", "m.onnx").code == 2
    assert (tmp_path / "known.json").read_bytes() == before


def test_output_goes_to_a_file(cli: Cli, tmp_path: Path) -> None:
    ran = cli("check", sick(tmp_path / "m.onnx"), "--format", "sarif", "-o", tmp_path / "out.sarif")
    assert (ran.code, ran.out) == (1, "")
    assert json.loads((tmp_path / "out.sarif").read_text())["version"] == "2.1.0"


def test_the_policy_is_found_upwards(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.graphneurons]\nselect = ["GN202"]\nfail-on = "error"\n')
    sick(tmp_path / "m.onnx")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    ran = cli("check", "../m.onnx", "--format", "concise")
    assert ran.code == 0
    assert ran.out.count("GN2") == 1
    assert cli("check", "../m.onnx", "--isolated").code == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('selct = ["GN2"]', "unknown key 'selct'; did you mean 'select'?"),
        ('select = ["GN9"]', "select: no rule begins with 'GN9'"),
        ('select = ["GN21x"]', "did you mean 'GN21"),
        ('[severity]\nGN2 = "warn"', "'warn' is no severity; did you mean 'warning'?"),
        ("[thresholds.GN208]\nlargset = 1", "GN208 has no threshold 'largset'; did you mean 'largest'?"),
        ("[budgets]\nneuron = 1", "unknown budget 'neuron'; did you mean 'neurons'?"),
        ('[hardware]\nsparsity = "4:2"', "is no pattern such as"),
        ("[input-ranges]\nx = [1, 0]", "the smallest is larger than the largest"),
        ("select = [", "is not TOML"),
        ("", ""),
    ],
)
def test_a_wrong_policy_is_refused_with_a_hint(text: str, message: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(text)
    ran = cli("check", healthy(tmp_path / "m.onnx"), "--config", "policy.toml")
    assert ran.code == (2 if message else 0)
    assert message in ran.err
    assert ran.err.count("\n") == bool(message)


def test_layers_can_be_left_out_by_glob(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "graphneurons.toml").write_text('[per-layer-ignores]\n"fc*" = ["GN20"]\n')
    assert cli("check", sick(tmp_path / "m.onnx")).code == 0


def test_severities_can_be_changed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "graphneurons.toml").write_text('[severity]\nGN2 = "info"\nGN202 = "error"\n')
    report = json.loads(cli("check", sick(tmp_path / "m.onnx"), "--format", "json").out)
    told = {finding["code"]: finding["severity"] for finding in report["models"][0]["findings"]}
    assert told == {"GN201": "info", "GN202": "error", "GN206": "info"}


def test_drift_is_told_against_a_lock(cli: Cli, tmp_path: Path) -> None:
    healthy(tmp_path / "m.onnx")
    assert cli("lock", "m.onnx", "-o", "m.lock.json").code == 0
    assert cli("check", "m.onnx", "--against", "m.lock.json").code == 0
    sick(tmp_path / "n.onnx")
    ran = cli("check", "n.onnx", "--against", "m.lock.json", "--format", "concise", "--select", "GN5")
    assert ran.code == 1
    assert "fc1, fc1.weight: GN506 warning: changed by about" in ran.out
    (tmp_path / "m.lock.json").write_text("{")
    bad = cli("check", "m.onnx", "--against", "m.lock.json")
    assert (bad.code, bad.err.count("\n")) == (2, 1)
    assert "m.lock.json: is no lock" in bad.err


def test_explain_knows_every_rule(cli: Cli) -> None:
    by_code, by_name = cli("explain", "GN203"), cli("explain", "silent-neuron")
    assert by_code.out == by_name.out
    assert "## How to fix" in by_code.out
    wrong = cli("explain", "GN2O3")
    assert (wrong.code, "did you mean 'GN203'?" in wrong.err) == (2, True)


def test_several_reports_come_of_one_run(cli: Cli, tmp_path: Path) -> None:
    sick(tmp_path / "m.onnx")
    given = ("check", "m.onnx", "--format", "concise", "--report", "sarif=a.sarif", "--report", "markdown=b=c.md")
    ran = cli(*given)
    assert ran.code == 1
    assert ran.out == cli("check", "m.onnx", "--format", "concise").out
    assert (tmp_path / "a.sarif").read_text() == cli("check", "m.onnx", "--format", "sarif").out
    assert (tmp_path / "b=c.md").read_text() == cli("check", "m.onnx", "--format", "markdown").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "a.sarif"], "--report a.sarif: expected FORMAT=FILE, FORMAT one of full, concise, json"),
        (["--report", "xml=a.xml"], "--report xml=a.xml: expected FORMAT=FILE"),
        (["--report", "sarif="], "is not the name of a file"),
        (["--report", "sarif=m.onnx"], "is one of the models to read"),
        (["--report", "json=a", "-o", "a"], "a: is given twice"),
        (["--report", "json=a", "--write-baseline", "a"], "a: is given twice"),
        (["--report", "json=no/a"], "its directory no does not exist"),
    ],
)
def test_reports_that_cannot_be_written_are_refused_before_any_work(
    arguments: list[str], message: str, cli: Cli, tmp_path: Path
) -> None:
    sick(tmp_path / "m.onnx")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    ran = cli("check", "m.onnx", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert message in ran.err
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
