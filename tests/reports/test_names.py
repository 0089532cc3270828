from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphneurons.reports.names import cells, fold, neutral, shown, wrap


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("onnx::MatMul_7", "onnx::MatMul_7"),
        ("/model/Conv#1", "/model/Conv#1"),
        ("::error::x", "\\x3a:error::x"),
        (" ::error::x", " \\x3a:error::x"),
        ("##[group]x", "\\x23#[group]x"),
        ("a##vso[task.x]", "a\\x23#vso[task.x]"),
        ("###", "\\x23\\x23#"),
        ("a\nb", "a\\nb"),
        ("\x1b]52;c;Zm9v\x07", "\\x1b]52;c;Zm9v\\x07"),
        ("\u202ex\u2066", "\\u202ex\\u2066"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_shown(name, safe):
    assert shown(name) == safe


@given(st.text())
def test_shown_is_harmless_and_stays_so(name):
    safe = shown(name, 10_000)
    assert neutral(safe) == safe
    assert "##" not in safe
    assert not safe.lstrip().startswith("::")
    assert safe.isprintable() or all(c.isprintable() or c.isspace() for c in safe)


@given(st.text(alphabet="ab:./_# 重\u0301"), st.integers(8, 40))
def test_folding_keeps_everything_within_the_width(name, width):
    pieces = fold(shown(name), width)
    assert "".join(pieces).replace(" ", "") == shown(name).replace(" ", "")
    assert all(cells(piece) <= width for piece in pieces)
    assert not any(piece.startswith("::") for piece in pieces)


@given(st.text(alphabet="ab ./"), st.integers(8, 40))
def test_wrapping_keeps_every_word(text, width):
    pieces = wrap(text, width)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(cells(piece) <= width for piece in pieces)


def test_wrapping_without_a_limit():
    assert wrap("a b " * 100, None) == ["a b " * 100]
