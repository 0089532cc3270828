"""Dynamic dimensions: defaults, overrides, and errors that list what the model has."""

from __future__ import annotations

import pytest

from graphneurons.axes.dimensions import concrete_inputs, default_size
from graphneurons.errors import UsageError
from graphneurons.graph import Dim, ModelGraph, ModelInfo, Value


def graph(**inputs: tuple[Dim, ...]) -> ModelGraph:
    values = tuple(Value(name, "float32", shape) for name, shape in inputs.items())
    return ModelGraph(ModelInfo("model.onnx"), (), values, (), {})


@pytest.mark.parametrize(
    ("name", "axis", "rank", "size"),
    [
        ("batch_size", 0, 2, 1),
        ("sequence_length", 1, 2, 16),
        ("past_sequence_length", 2, 4, 16),
        ("height", 2, 4, 224),
        (None, 0, 2, 1),
        (None, 1, 2, 16),
        (None, 3, 4, 224),
        ("s77", 0, 3, 1),
    ],
)
def test_defaults_fit_what_dimensions_are_called(name: str | None, axis: int, rank: int, size: int) -> None:
    assert default_size(name, axis, rank) == size


def test_one_name_has_one_size_and_sums_add_up() -> None:
    model = graph(
        ids=("batch", "seq"), mask=("batch", "past + seq"), cache=("batch", 2, "past", 8), more=("batch", "past+1")
    )
    shapes, _ = concrete_inputs(model, {}, {"seq": 5})
    assert shapes == {"ids": (1, 5), "mask": (1, 21), "cache": (1, 2, 16, 8), "more": (1, 17)}


def test_a_given_shape_fixes_the_names_in_it() -> None:
    model = graph(x=("n", 3, "h", "w"), y=("n", "h"))
    shapes, _ = concrete_inputs(model, {"x": (4, 3, 32, 64)}, {})
    assert shapes == {"x": (4, 3, 32, 64), "y": (4, 32)}


@pytest.mark.parametrize(
    ("shapes", "dims", "complaint"),
    [
        ({"z": (1,)}, {}, "model.onnx: no input is called 'z'; the inputs are x, y"),
        ({"": (1, 2)}, {}, "--shape without a name needs a model with one input, this has 2: x, y"),
        ({"x": (1, 3, 8)}, {}, "model.onnx: x: --shape gives 3 axes, the file declares 4"),
        ({"x": (1, 4, 8, 8)}, {}, "model.onnx: x: --shape gives [1, 4, 8, 8], the file declares ['n', 3, 'h', 'w']"),
        ({}, {"heigth": 8}, "no dimension is called 'heigth'; the dynamic dimensions are: h, n, w"),
    ],
)
def test_names_the_model_does_not_have(
    shapes: dict[str, tuple[int, ...]], dims: dict[str, int], complaint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        concrete_inputs(graph(x=("n", 3, "h", "w"), y=("n",)), shapes, dims)
    assert complaint in str(caught.value)
