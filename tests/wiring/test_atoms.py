"""Slots told as atoms, and products cut as whole axes, say what they say slot by slot."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphneurons.wiring.atoms import atoms
from graphneurons.wiring.closing import CUTTABLE, close
from graphneurons.wiring.products import Wholes
from graphneurons.wiring.slots import Ledger
from graphneurons.wiring.spreading import ways

SIZES = [2, 3, 4, 6, 12]


def _ledger(data: st.DataObject, steps: int, breaks: bool = True) -> Ledger:
    """A ledger of axes that are sliced, joined, permuted, padded, tied, taken apart and multiplied."""
    ledger = Ledger()
    for name in "ab":
        ledger.code(f"reason {name}")
    axes = [ledger.fresh(data.draw(st.sampled_from(SIZES))) for _ in range(data.draw(st.integers(1, 4)))]
    kinds = ["fresh", "tie", "product", "apart", "note", "fix", "grid"]
    kinds += ["slice", "join", "permute", "pad"] if breaks else []
    for number in range(data.draw(st.integers(1, steps))):
        kind, one = data.draw(st.sampled_from(kinds)), data.draw(st.sampled_from(axes))
        if kind == "fresh":
            axes.append(ledger.fresh(data.draw(st.sampled_from(SIZES))))
        elif kind == "tie":
            ledger.tie(one, data.draw(st.sampled_from([other for other in axes if other.size == one.size])))
        elif kind == "product":
            other = data.draw(st.sampled_from(axes))
            if one.size * other.size <= 60:
                made = ledger.product(f"op{number}", [one, other], [one.size, other.size])
                assert not isinstance(made, int)
                axes.append(made)
        elif kind == "apart" and one.size % 2 == 0 and one.size > 2:
            known = data.draw(st.sampled_from([None, *(other for other in axes if other.size == 2)]))
            found = ledger.apart(f"op{number}", one, [2, one.size // 2], [known, None])
            axes += [child for child in found if not isinstance(child, int)]
        elif kind == "note":
            ledger.note(one, number)
        elif kind == "fix":
            ledger.fix(one, data.draw(st.sampled_from([-2, -3])))
        elif kind == "slice":
            start = data.draw(st.integers(0, one.size - 1))
            piece = one[start : data.draw(st.integers(start + 1, one.size))]
            if data.draw(st.booleans()):
                ledger.fix(piece, -2)
            axes.append(ledger.keep(piece))
        elif kind == "join" and one.size <= 12:
            axes.append(ledger.keep(np.concatenate([one, data.draw(st.sampled_from(axes))])))
        elif kind == "permute":
            axes.append(ledger.keep(one[data.draw(st.permutations(range(one.size)))]))
        elif kind == "pad":
            padded = one.copy()
            at = data.draw(st.lists(st.integers(0, one.size - 1), max_size=3))
            padded[at] = data.draw(st.sampled_from([-2, -3, -999]))
            axes.append(ledger.keep(padded))
        elif kind == "grid":
            count = data.draw(st.integers(2, 6))
            children = [ledger.fresh(2), ledger.fresh(3)]
            places = [data.draw(st.lists(st.integers(0, c.size - 1), min_size=count, max_size=count)) for c in children]
            parent = one if one.size == count else ledger.fresh(count)
            ledger.grid(f"op{number}", parent, children, [np.array(at) for at in places])
            axes += children
    return ledger


@pytest.mark.parametrize("rounds", [0, 16])
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_atoms_say_what_slots_say(rounds: int, data: st.DataObject) -> None:
    ledger = _ledger(data, 14)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphneurons.wiring.atoms._MOST_ROUNDS", rounds)
        by_slot, found = close(ledger.ties), atoms(ledger)
    by_atom = close(found.ties)
    number, inside = np.full(ledger.count, -1), np.full(ledger.count, -1)
    for slots in ledger._known.values():
        atom, places = found.rows[id(slots)]
        for one, place in zip(atom.tolist(), places.tolist(), strict=True):
            width = int(found.widths[one])
            here = slots[place : place + width]
            assert (np.diff(here) == 1).all()
            assert here.size == width
            assert set(number[here].tolist()) <= {-1, one}
            number[here], inside[here] = one, np.arange(width)
        assert sum(int(found.widths[one]) for one in atom.tolist()) == (slots >= 0).sum()
    assert (number >= 0).all()
    together: dict[tuple[int, int], int] = {}
    for slot, label in enumerate(by_slot.label.tolist()):
        key = int(by_atom.label[number[slot]]), int(inside[slot])
        assert together.setdefault(key, label) == label
    assert len(together) == len(set(together.values()))
    for name in ("codes", "traits", "gridded"):
        of_slot, of_atom = getattr(by_slot, name), getattr(by_atom, name)
        assert np.array_equal(of_slot[by_slot.label], of_atom[by_atom.label[number]])


def test_axes_that_nothing_breaks_are_one_atom_each() -> None:
    ledger = Ledger()
    one, other, third = ledger.fresh(1000), ledger.fresh(1000), ledger.fresh(500)
    ledger.tie(one, other)
    ledger.note(ledger.keep(np.concatenate([third, one])), 1)
    found = atoms(ledger)
    assert found.widths.tolist() == [1000, 1000, 500]
    ledger.note(ledger.keep(other[300:]), 2)
    assert atoms(ledger).widths.tolist() == [300, 700, 300, 700, 500]


def test_what_is_tied_to_padding_is_an_atom_of_its_own() -> None:
    ledger = Ledger()
    padding = ledger.code("padding")
    one, other = ledger.fresh(5), ledger.fresh(5)
    padded = one.copy()
    padded[2] = padding
    ledger.tie(ledger.keep(padded), other)
    found = atoms(ledger)
    assert found.widths.tolist() == [2, 1, 2] * 2
    assert close(found.ties).codes.tolist() == [CUTTABLE] * 4 + [padding, CUTTABLE]


@pytest.mark.parametrize("breaks", [False, True])
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_products_cut_as_whole_axes_are_cut_as_they_are_slot_by_slot(breaks: bool, data: st.DataObject) -> None:
    ledger = _ledger(data, 14, breaks)
    found = atoms(ledger)
    closed = close(found.ties)
    with pytest.MonkeyPatch.context() as patch:
        quick = list(ways(found.ties, closed))
        patch.setattr(Wholes, "spread", lambda *_: None)
        slow = list(ways(found.ties, closed))
    assert len(quick) == len(slow)
    for one, other in zip(quick, slow, strict=True):
        order = np.argsort(one.nodes)
        assert one.op == other.op
        assert one.nodes[order].tolist() == other.nodes.tolist()
        assert one.cut[order].tolist() == other.cut.tolist()
        assert one.codes.tolist() == other.codes.tolist()


def test_heads_are_cut_without_a_look_at_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()
    projection = ledger.fresh(prod((3, 4, 8)))
    _, heads, width = ledger.apart("unflatten", projection, [3, 4, 8], [None, None, None])
    ledger.product("merge", [heads, width], [4, 8])
    monkeypatch.setattr("graphneurons.wiring.spreading._spread", lambda *_: pytest.fail("looked at elements"))
    found = atoms(ledger)
    assert [way.codes.size for way in ways(found.ties, close(found.ties))] == [3, 4, 8]
