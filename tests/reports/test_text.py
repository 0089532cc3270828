from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

import pytest

from graphneurons.reports.lines import ASCII, UNICODE, Line, measure, painted, plain
from graphneurons.reports.markdown import as_markdown
from graphneurons.reports.text import View, lines
from graphneurons.reports.totals import percent
from tests.sample_analyses import analysis, bias, hostile, layer, mixture, transformer, use

ANSI = re.compile(r"\x1b\[[0-9;]*m")
WIDTHS = (40, 50, 60, 80, 100, 120, 200)


def text(made, **view) -> str:
    return "".join(plain(lines(made, View(**view))))


@pytest.mark.parametrize("by", ["layer", "scope", "op"])
@pytest.mark.parametrize("width", [50, 80, 120, None])
def test_golden(golden, by, width):
    golden(f"text/mixture-{by}-{width or 'pipe'}.txt", text(mixture(), by=by, width=width))


def test_golden_of_everything_listed(golden):
    golden("text/mixture-all-80.txt", text(mixture(), everything=True, width=80))


def test_golden_of_a_transformer(golden):
    golden("text/transformer-layer-120.txt", text(transformer(2), width=120))
    golden("text/transformer-layer-80.txt", text(transformer(2), width=80))
    golden("text/transformer-scope-80.txt", text(transformer(2), by="scope", width=80))


def test_golden_ascii(golden):
    out = text(mixture(), glyphs=ASCII, width=120) + text(mixture(), by="scope", glyphs=ASCII, width=120)
    assert out.isascii()
    golden("text/mixture-ascii.txt", out)


def test_golden_colour(golden):
    golden("text/mixture-colour-120.txt", "".join(painted(lines(mixture(), View(width=120)))))


@pytest.mark.parametrize("by", ["layer", "scope", "op"])
@pytest.mark.parametrize("width", [None, *WIDTHS])
def test_colours_change_nothing_but_colours(by, width):
    view = View(by=by, width=width, everything=True)
    uncoloured = [ANSI.sub("", each).rstrip() for each in painted(lines(mixture(), view))]
    assert uncoloured == [each.rstrip() for each in plain(lines(mixture(), view))]


@pytest.mark.parametrize("make", [mixture, transformer, hostile])
@pytest.mark.parametrize("by", ["layer", "scope", "op"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_asked(make, by, width):
    for spans in lines(make(), View(by=by, width=width, everything=True)):
        assert measure(spans) <= width, spans


def test_a_huge_layer_stays_within_a_narrow_terminal():
    made = analysis(
        "m.onnx", (layer("x" * 90, "Gemm", "linear", 10**9, 10**9, use("y" * 90, f"{10**9}n", f"{10**9}s")),)
    )
    assert all(measure(spans) <= 40 for spans in lines(made, View(width=40)))
    assert "= 1,000,000,000,000,000,000" in text(made, width=40)


@pytest.mark.parametrize("width", [None, 80])
def test_every_name_is_shown_whole(width):
    out = "".join(text(mixture(), width=width, everything=True).split())
    for each in (*mixture().layers, *mixture().lookups):
        assert each.id in out
    assert "blocks.0.mlp.fc1.bias" in out


def test_wide_characters_keep_columns_aligned():
    made = analysis(
        "m.onnx",
        (
            layer("重み", "Gemm", "linear", 2, 3, use("a", "2n", "3s")),
            layer("abcd", "Gemm", "linear", 2, 3, use("b", "2n", "3s")),
        ),
    )
    first, second = text(made).splitlines()[3:5]
    assert first.replace("重み", "abcd").replace(" a ", " b ") == second


def test_roles_are_marked_in_text():
    out = text(mixture())
    assert "[64n 3s 7s 7s]" in out
    assert "[(2g × 16s) 16n 4s 4s]" in out
    assert "[2g (4 gate × 32 h)n 64s]" in out
    assert "[64s 192n[128:192]]" in out
    assert "n neurons    s synapses of one neuron    g shared" in out


def test_legend_holds_only_what_is_there():
    made = analysis("m.onnx", (layer("a", "Gemm", "linear", 2, 3, use("w", "2n", "3s")),))
    assert "shared" not in text(made)


def test_tied_layers_name_the_first():
    assert "\n  = head\n" in text(mixture())


def test_top_sums_the_rest():
    out = text(transformer(), top=2)
    assert "47 other layers" in out
    assert "lm_head" in out
    assert "transformer.h.11" not in out


def test_top_that_covers_everything_has_no_rest():
    assert "other layers" not in text(transformer(1), top=50)


def test_a_model_of_very_many_layers_shows_the_largest():
    layers = tuple(layer(f"l{i}", "Gemm", "linear", 2, i, use(f"w{i}", "2n", f"{i}s")) for i in range(10_001))
    out = text(analysis("m.onnx", layers), width=100)
    assert "l10000 " in out
    assert "l9900 " not in out
    assert "9,901 other layers" in out
    assert "(--top 10001 shows all of them, --format csv has a row for each)" in out
    assert "l9900 " in text(analysis("m.onnx", layers), top=10_001)
    assert "other layers" not in text(analysis("m.onnx", layers[:10_000]))
    assert "9,901 other layers" in as_markdown(analysis("m.onnx", layers))


def test_by_op_top_sums_the_rest():
    out = text(mixture(), by="op", top=2)
    assert "6 other op types" in out
    assert "LSTM" not in out


def test_scope_depth():
    assert "c_fc" not in text(transformer(), by="scope")
    assert "c_fc" in text(transformer(), by="scope", depth=9)
    assert " h " not in text(transformer(), by="scope", depth=1)


def test_a_scope_as_deep_as_a_hostile_file_likes():
    deep = layer("a", "Gemm", "linear", 2, 3, use("w", "2n", "3s"), scope=tuple(f"s{i}" for i in range(5000)))
    branch = layer("b", "Gemm", "linear", 2, 3, use("v", "2n", "3s"), scope=("s0", "other"))
    out = text(analysis("m.onnx", (deep, branch)), by="scope", depth=64, width=80)
    assert "other" in out
    assert "s1.s2.s3" in out


def test_scopes_add_up_to_the_totals():
    made = mixture()
    model = next(each for each in text(made, by="scope").splitlines() if each.startswith("  model"))
    numbers = [int(number.replace(",", "")) for number in model.split()[2:]]
    assert numbers == [made.totals.neurons, made.totals.synapses, made.totals.parameters]


def test_lookups_and_modulators_are_summed_and_listed_on_demand():
    brief, full = text(mixture()), text(mixture(), everything=True)
    assert "lookups     1 table of rows × width: 1,000 × 64" in brief
    assert "modulators  3 weights: 2 bias (320), 1 normalisation (64)" in brief
    assert "stem.norm.weight" not in brief
    assert "stem.norm.weight  [64]  normalisation, BatchNormalization" in full
    assert "embed  Gather  embed.weight [1000r 64g]" in full


def test_unlabelled_weights_are_grouped_by_reason():
    from graphneurons.analysis import Unlabelled
    from tests.sample_analyses import op

    found = tuple(Unlabelled(f"w{i}", (2, 2), op("Foo", f"/foo{i}", "acme"), "no rule for acme.Foo") for i in range(9))
    made = analysis("m.onnx", unlabelled=found)
    out = text(made)
    assert out.count("no rule for acme.Foo") == 1
    assert "w4  [2, 2]  Foo /foo4" in out
    assert "w5" not in out
    assert "… and 4 more (--all lists them)" in out
    assert "w8" in text(made, everything=True)
    assert "labelled    0 % of 36 weight elements" in out


def test_a_model_without_any_weight():
    out = text(analysis("empty.onnx"))
    assert "neurons     0" in out
    assert "labelled    100 % of 0 weight elements" in out


@pytest.mark.parametrize(("width", "each"), [(999_999_999, 1), (10**9, 1)])
def test_human_brain_only_for_large_models(width, each):
    made = analysis("m.onnx", (layer("a", "Gemm", "linear", width, each, use("w", f"{width}n", f"{each}s")),))
    assert ("human brain" in text(made)) == (width >= 10**9)


def test_human_brain_numbers():
    made = analysis("m.onnx", (layer("a", "Gemm", "linear", 173_946, 10**6, use("w", "173946n", "1000000s")),))
    assert "human brain 86 billion neurons × about 7,000 synapses = 602 trillion: 3,461 times as many synapses" in text(
        made
    )


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 5, "0 %"), (1, 10**9, "< 0.01 %"), (1, 2, "50.00 %"), (99_999_999, 10**8, "99.99 %"), (5, 5, "100 %")],
)
def test_percent_never_rounds_to_all_or_nothing(part, whole, said):
    assert percent(part, whole) == said


@pytest.mark.parametrize("by", ["layer", "scope", "op"])
@pytest.mark.parametrize("width", [None, *WIDTHS])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_hostile_names_are_harmless(by, width, glyphs):
    for each in plain(lines(hostile(), View(by=by, width=width, everything=True, glyphs=glyphs))):
        assert each.endswith("\n")
        assert not each.strip().startswith("::"), each
        assert "##" not in each
        # Nothing but printable characters and the final line feed: no escape, no bidirectional override.
        assert not [c for c in each[:-1] if c != " " and unicodedata.category(c)[0] in "CZ"], each


def test_names_never_start_a_line():
    made = hostile()
    for each in plain(lines(made, View(everything=True))):
        assert each == "\n" or each.startswith(("  ", "model "))


def test_same_input_same_output():
    def spans() -> list[Line]:
        return list(lines(transformer(), View(by="scope", everything=True, width=80)))

    assert spans() == spans()


def test_bias_alone_is_no_layer():
    out = text(analysis("m.onnx", modulators=(bias("b", 4),)))
    assert "layer " not in out
    assert "1 bias (4)" in out


def test_a_modulator_used_twice_counts_once():
    out = text(analysis("m.onnx", modulators=(bias("b", 4), bias("b", 4), bias("c", 3))))
    assert "modulators  2 weights: 2 bias (7)\n" in out


def test_tied_layers_are_faded():
    tied = next(each for each in lines(mixture(), View()) if any("head_again" in part for part, _ in each))
    numbers = [style for part, style in tied if "1,000" in part or "64,000" in part]
    assert numbers == ["quiet", "quiet"]


def test_packed_weights_count_what_they_unpack_to():
    packed = replace(use("w", "40n", "2s", "8s", dtype="uint8"), elements=960)
    made = analysis("m.onnx", (layer("a", "MatMulNBits", "linear", 40, 24, packed),))
    row = next(each for each in text(made, by="op").splitlines() if "MatMulNBits" in each)
    assert row.split() == ["MatMulNBits", "1", "40", "960", "960"]
