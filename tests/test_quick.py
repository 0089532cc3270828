"""Records that are made quickly are what dataclasses make of them."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from graphneurons.analysis import Layer, Modulator, OpRef, WeightUse
from graphneurons.axes.planes import Plane
from graphneurons.graph import FileSlice, Inline, Op, Value, WeightRef
from graphneurons.quick import quick
from graphneurons.wiring.records import Junction, Source, Synapses

RECORDS = (
    FileSlice, Inline, Junction, Layer, Modulator, Op, OpRef, Plane, Source, Synapses, Value, WeightRef, WeightUse,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    size: int = 3
    parts: dict[str, int] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    name: str
    size: int = 3
    parts: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("given", "named"), [(("a",), {}), (("a", 4), {}), ((), {"size": 5, "name": "b"}), (("a", 1, {"x": 2}), {})]
)
def test_fields_are_set_as_dataclasses_set_them(given: tuple[object, ...], named: dict[str, object]) -> None:
    plain, made = Plain(*given, **named), Quick(*given, **named)
    assert [getattr(made, each.name) for each in fields(Quick)] == [getattr(plain, each.name) for each in fields(Plain)]
    assert repr(made) == repr(plain).replace("Plain", "Quick")
    assert made == Quick(plain.name, plain.size, plain.parts) != Quick("other")


def test_what_a_factory_makes_is_not_shared() -> None:
    assert Quick("a").parts is not Quick("a").parts


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        ((), {}, r"missing 1 required positional argument: 'name'"),
        (("a", 1, {}, 2), {}, r"takes from 2 to 4 positional arguments but 5 were given"),
        (("a",), {"colour": 1}, r"unexpected keyword argument 'colour'"),
    ],
)
def test_wrong_arguments_are_told_alike(given: tuple[object, ...], named: dict[str, object], message: str) -> None:
    for record in (Plain, Quick):
        with pytest.raises(TypeError, match=rf"{record.__name__}.__init__\(\) .*{message}"):
            record(*given, **named)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_records_are_frozen_and_can_be_copied(record: type) -> None:
    names = [each.name for each in fields(record)]
    assert f"set_{names[0]}" in record.__init__.__code__.co_names
    assert list(inspect.signature(record).parameters) == names
    made = record(*names)
    assert [getattr(made, name) for name in names] == names
    for other in (copy.copy(made), pickle.loads(pickle.dumps(made)), replace(made)):
        assert other == made
    with pytest.raises(FrozenInstanceError):
        setattr(made, names[0], "other")
