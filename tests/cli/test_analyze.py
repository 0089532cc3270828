from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from tests.cli.conftest import ROOT, save
from tests.sample_analyses import hostile, mixture, transformer

SCHEMA = json.loads((ROOT / "docs" / "analysis.schema.json").read_text("utf-8"))


@pytest.fixture
def samples(monkeypatch):
    """Makes the command see analyses made by hand: ``bad*`` fails, all other files hold the mixture."""

    def analysis_of(path, *_):
        name = Path(path).name
        if name.startswith("bad"):
            from graphneurons.errors import LoadError

            raise LoadError("not an ONNX model; give a .onnx file", file=path)
        return {"hostile": hostile, "transformer": transformer}.get(name.partition(".")[0], mixture)()

    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", analysis_of)


def test_a_real_file(cli, tiny):
    ran = cli("analyze", tiny)
    assert ran.code == 0
    assert ran.err == ""
    assert "[4n 3s 3s 3s]" in ran.out
    assert "neurons     4\n" in ran.out
    assert "synapses    108  (27 per neuron)" in ran.out
    assert "odd  [5]  Foo /odd/Foo" in ran.out


def test_a_real_file_as_json(cli, tiny):
    ran = cli("analyze", tiny, "--json")
    report = json.loads(ran.out)
    jsonschema.validate(report, SCHEMA)
    assert ran.code == 0
    assert report["model"]["path"] == str(tiny)
    assert report["layers"][0]["weights"][0]["name"] == "stem.conv.weight"
    assert len(report["model"]["sha256"]) == 64


def test_the_same_numbers_as_the_python_interface(cli, tiny):
    import graphneurons

    totals = graphneurons.analyze(str(tiny)).totals
    report = json.loads(cli("analyze", tiny, "--json").out)
    assert report["totals"]["neurons"] == totals.neurons
    assert report["totals"]["synapses"] == totals.synapses
    assert report["totals"]["weight_elements"] == totals.weight_elements


def test_same_bytes_twice(process, tiny):
    for options in ([], ["--json"], ["--format", "csv"], ["--format", "markdown"], ["--by", "scope"]):
        first = process("analyze", tiny, *options, PYTHONHASHSEED="1")
        second = process("analyze", tiny, *options, PYTHONHASHSEED="2")
        assert first == second
        assert first.code == 0


@pytest.mark.parametrize("options", [["--json"], ["--format", "json"]])
def test_json_formats(cli, samples, options):
    jsonschema.validate(json.loads(cli("analyze", "m.onnx", *options).out), SCHEMA)


@pytest.mark.parametrize("by", ["layer", "scope", "op"])
def test_csv_and_markdown(cli, samples, by):
    assert cli("analyze", "m.onnx", "--format", "csv", "--by", by).out.startswith("model,")
    assert cli("analyze", "m.onnx", "--format", "markdown", "--by", by).out.startswith("## `mixture.onnx`\n")


def test_options_reach_the_table(cli, samples):
    assert "9 other layers" not in cli("analyze", "m.onnx").out
    assert "9 other layers" in cli("analyze", "m.onnx", "--top", "1").out
    assert "stem.norm.weight" in cli("analyze", "m.onnx", "--all").out
    assert "fc1" not in cli("analyze", "m.onnx", "--by", "scope", "--depth", "1").out
    assert "ConvTranspose" in cli("analyze", "m.onnx", "--by", "op").out


def test_notices_are_warnings_on_stderr(cli, samples):
    ran = cli("analyze", "dir/m.onnx")
    assert ran.err == "warning: dir/m.onnx: opset_import: domain ai.onnx is declared twice\n"
    assert ran.code == 0


# --- several files and directories


def test_several_files_in_the_order_given(cli, samples):
    out = cli("analyze", "z.onnx", "transformer.onnx", "a.onnx").out
    titles = [line.split()[1] for line in out.splitlines() if line.startswith("model ")]
    assert titles == ["mixture.onnx", "gpt2.onnx", "mixture.onnx"]


def test_several_files_as_json(cli, samples):
    report = json.loads(cli("analyze", "a.onnx", "transformer.onnx", "--json").out)
    jsonschema.validate(report, SCHEMA)
    assert [model["model"]["path"] for model in report["models"]] == ["mixture.onnx", "gpt2.onnx"]


def test_several_files_as_csv_have_one_header(cli, samples):
    assert cli("analyze", "a.onnx", "b.onnx", "--format", "csv").out.count("synapses_per_neuron") == 1


def test_one_bad_file_does_not_stop_the_others(cli, samples):
    ran = cli("analyze", "bad.onnx", "a.onnx", "bad2.onnx", "--json")
    assert ran.code == 2
    assert len(json.loads(ran.out)["models"]) == 1
    errors = [line for line in ran.err.splitlines() if line.startswith("error:")]
    assert errors == [
        "error: bad.onnx: not an ONNX model; give a .onnx file",
        "error: bad2.onnx: not an ONNX model; give a .onnx file",
    ]


@pytest.mark.parametrize("options", [[], ["--json"], ["--format", "csv"], ["--format", "markdown"]])
def test_only_bad_files_print_nothing(cli, samples, options):
    ran = cli("analyze", "bad.onnx", "bad2.onnx", *options)
    assert (ran.code, ran.out) == (2, "")


def test_a_directory_is_searched_and_sorted(cli, samples, tmp_path):
    for name in ("b/deep/z.onnx", "a.onnx", "b/A.ONNX", "b/notes.txt", ".hidden/h.onnx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    seen = [line.split(":")[1].strip() for line in cli("analyze", tmp_path).err.splitlines()]
    assert seen == [str(tmp_path / name) for name in (".hidden/h.onnx", "a.onnx", "b/A.ONNX", "b/deep/z.onnx")]


def test_a_directory_with_one_model_is_still_a_list(cli, tmp_path):
    save(tmp_path / "only.onnx")
    assert list(json.loads(cli("analyze", tmp_path, "--json").out)) == ["schema_version", "models"]


def test_an_empty_directory_is_an_error(cli, tmp_path):
    ran = cli("analyze", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {tmp_path}: no .onnx file in this directory or below it\n"


def test_links_to_directories_are_not_followed(cli, samples, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert cli("analyze", tmp_path).out.count("model mixture.onnx") == 1


# --- shapes and dimensions


def test_shapes_and_dims_reach_the_analysis(cli, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "graphneurons.cli.analyze.analysis_of", lambda path, shapes, dims, *_: seen.append((shapes, dims)) or mixture()
    )
    cli("analyze", "m", "--shape", "a=b=1,3", "--shape", "2, 2", "--dim", "batch=4", "--dim", "x=y=5")
    assert seen == [({"a=b": (1, 3), "": (2, 2)}, {"batch": 4, "x=y": 5})]


@pytest.mark.parametrize("shape", ["x=2,3,8,8", "2,3,8,8"])
def test_shape_of_a_real_file(cli, tiny, shape):
    assert cli("analyze", tiny, "--shape", shape).code == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--shape", value) for value in ("x=", "x=1,,2", "x=a", "x=-1", "x=0", "x=99999999999", "", "x=1.5", "x=١")),
        *(("--dim", value) for value in ("n", "n=", "=3", "n=0", "n=-1", "n=1,2", "4")),
    ],
)
def test_wrong_shapes_and_dims(cli, tiny, option, value):
    ran = cli("analyze", tiny, option, value)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {option} ")
    assert "expected NAME=1" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(("option", "first", "second"), [("--shape", "x=1,2", "x=1,3"), ("--dim", "n=1", "n=2")])
def test_contradictions_are_errors(cli, tiny, option, first, second):
    ran = cli("analyze", tiny, option, first, option, second)
    assert ran.code == 2
    assert "given before as 1" in ran.err


def test_a_nameless_shape_needs_a_single_input():
    from graphneurons.cli.arguments import shapes_for
    from graphneurons.errors import UsageError
    from graphneurons.graph import Value

    one, two = Value("x", "float32", None), Value("y", "float32", None)
    assert shapes_for([one], {"": (1, 2)}) == {"x": (1, 2)}
    assert shapes_for([one, two], {"x": (3,)}) == {"x": (3,)}
    with pytest.raises(UsageError, match=r"this one has 2 \(x, y\); write --shape NAME=1,2"):
        shapes_for([one, two], {"": (1, 2)})
    with pytest.raises(UsageError, match=r"this one has 0 \(none\)"):
        shapes_for([], {"": (1, 2)})


# --- errors


def test_a_missing_file(cli, tmp_path):
    path = tmp_path / "nope.onnx"
    ran = cli("analyze", path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {path}: ")
    assert ran.err.count("\n") == 1


def raising(error):
    def analysis_of(path, *_):
        raise error

    return analysis_of


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "m.onnx"), "error: m.onnx: Permission denied"),
        (OSError(5, "Input/output error"), "error: m.onnx: Input/output error"),
        (MemoryError(), "error: m.onnx: not enough memory to analyze this"),
        (
            RecursionError("maximum recursion depth exceeded"),
            "error: m.onnx: internal: RecursionError: maximum recursion depth exceeded; please report this as a defect "
            "(GRAPHNEURONS_DEBUG=1 shows where)",
        ),
        (
            KeyError("a\nb"),
            "error: m.onnx: internal: KeyError: 'a\\nb'; please report this as a defect "
            "(GRAPHNEURONS_DEBUG=1 shows where)",
        ),
    ],
)
def test_every_error_is_one_line(cli, monkeypatch, error, said):
    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", raising(error))
    ran = cli("analyze", "m.onnx")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.rstrip("\n") == said.replace("\n", "\\n")


def test_tracebacks_only_on_demand(cli, monkeypatch):
    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", raising(ValueError("\x1b[31m")))
    assert "Traceback" not in cli("analyze", "m.onnx").err
    monkeypatch.setenv("GRAPHNEURONS_DEBUG", "1")
    err = cli("analyze", "m.onnx").err
    assert "  Traceback (most recent call last):\n" in err
    assert "\x1b" not in err


def test_errors_with_a_place(cli, monkeypatch):
    from graphneurons.errors import LoadError, UsageError

    monkeypatch.setattr(
        "graphneurons.cli.analyze.analysis_of", raising(LoadError("is cut off", file="m.onnx", where="conv.weight"))
    )
    assert cli("analyze", "m.onnx").err == "error: m.onnx: conv.weight: is cut off\n"
    monkeypatch.setattr("graphneurons.cli.analyze.analysis_of", raising(UsageError("no dimension 'k'; it has 'n'")))
    assert cli("analyze", "m.onnx").err == "error: m.onnx: no dimension 'k'; it has 'n'\n"


@pytest.mark.parametrize(
    "name", ["::error::x.onnx", "\x1b[31m.onnx", "a\n::warning::b.onnx", "\u202egpj.onnx", "##vso[x].onnx"]
)
def test_hostile_file_names(cli, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"\0")
    ran = cli("analyze", name)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert not any(bad in ran.err for bad in ("\x1b", "\u202e", "##", ": ::"))


def test_hostile_names_on_every_stream(cli, samples):
    for options in ([], ["--by", "scope"], ["--by", "op"], ["--format", "csv"], ["--format", "markdown"], ["--json"]):
        ran = cli("analyze", "hostile.onnx", *options)
        assert ran.code == 0
        for line in (ran.out + ran.err).splitlines():
            assert not line.strip().startswith("::")
            assert not any(bad in line for bad in ("\x1b", "\x07", "\u202e", "##[", "##vso"))


def test_a_file_name_that_is_not_utf8(process, tmp_path):
    path = os.fsencode(str(save(tmp_path / "tiny.onnx")))
    odd = path.replace(b"tiny", b"caf\xe9")
    os.rename(path, odd)
    ran = process("analyze", os.fsdecode(odd), "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["model"]["path"].endswith("caf\\xe9.onnx")
    assert "caf\\udce9.onnx" in process("analyze", os.fsdecode(odd)).out


def test_attention_as_circuits(cli):
    model = ROOT / "fixtures" / "gpt_block.onnx"
    plain, merged = cli("analyze", model), cli("analyze", model, "--attention", "circuits")
    assert "attn QK" in merged.out
    assert "attn QK" not in plain.out
    assert "neurons     108\n" in plain.out
    assert "neurons     84\n" in merged.out
    report = json.loads(cli("analyze", model, "--attention", "circuits", "--json").out)
    jsonschema.validate(report, SCHEMA)
    assert report["totals"]["neurons"] == 84
    assert cli("analyze", model, "--attention", "projections").out == plain.out
