"""Pieces of a split picked at known positions become slices; those the file does not know stay what they are."""

from __future__ import annotations

import pytest

from graphneurons.graph import Inline, Op, WeightRef
from graphneurons.load.sequences import with_slices


def integers(name: str, *numbers: int) -> WeightRef:
    return WeightRef(
        name, "int64", (len(numbers),), Inline(b"".join(n.to_bytes(8, "little", signed=True) for n in numbers))
    )


SPLIT = Op("split", "SplitToSequence", "", ("x", "sizes"), ("pieces",), {"axis": 1})
PICK = Op("pick", "SequenceAt", "", ("pieces", "position"), ("piece",))


@pytest.mark.parametrize(("position", "start", "stop"), [(0, 0, 12), (1, 12, 36), (-1, 12, 36)])
def test_a_known_piece_is_a_slice(position: int, start: int, stop: int) -> None:
    weights = {"sizes": integers("sizes", 12, 24), "position": integers("position", position)}
    _, piece = with_slices([SPLIT, PICK], weights)
    assert (piece.type, piece.inputs, piece.outputs, piece.name) == ("Slice", ("x",), ("piece",), "pick")
    assert piece.attributes == {"starts": (start,), "ends": (stop,), "axes": (1,)}


@pytest.mark.parametrize(
    ("sizes", "position"),
    [((12, 24), None), (None, 0), ((12, 12), 0), ((12, 24), 2), ((12, -24), 0)],
    ids=["position computed", "sizes computed", "equal pieces", "out of range", "negative"],
)
def test_other_pieces_stay_what_they_are(sizes: tuple[int, ...] | None, position: int | None) -> None:
    weights = {"sizes": integers("sizes", *sizes)} if sizes else {}
    if position is not None:
        weights["position"] = integers("position", position)
    assert with_slices([SPLIT, PICK], weights) == [SPLIT, PICK]
