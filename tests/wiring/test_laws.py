"""Laws the wiring rests on, on random shapes: ids may ride instead of numbers."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import graphneurons
from graphneurons.axes import planes
from graphneurons.axes.carrying import MIXED, carry
from graphneurons.axes.layouts import LAYOUTS
from graphneurons.axes.planes import Plane
from graphneurons.axes.rules.site import Site
from graphneurons.graph import Op
from graphneurons.wiring.records import CONSTANT, FIRST_UNKNOWN, Source, Wiring
from graphneurons.wiring.segments import numbers_of, segments_of
from tests.wiring.claims import Claims
from tests.wiring.moving import FILL, MOVES, Move, moves

MANY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
VERSION = 19
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@st.composite
def some_planes(draw: Any, shape: tuple[int, ...] | None = None) -> Plane:
    """A plane that varies along some of its axes, with few distinct numbers."""
    shape = draw(shapes) if shape is None else shape
    stored = tuple(size if draw(st.booleans()) else 1 for size in shape)
    seed = draw(st.integers(0, 2**16))
    data = np.random.default_rng(seed).integers(0, draw(st.sampled_from([2, 5, 1000])), stored, dtype=np.int64)
    return Plane(shape, data)


def node_of(move: Move, source: str, outputs: list[str], name: str) -> tuple[onnx.NodeProto, dict[str, np.ndarray]]:
    last = max(move.consts, default=0)
    inputs = [source] + [f"{name}_{at}" if at in move.consts else "" for at in range(1, last + 1)]
    stored = {f"{name}_{at}": value for at, value in move.consts.items()}
    return helper.make_node(move.type, inputs, outputs, name=name, **move.attributes), stored


def computed(
    nodes: list[onnx.NodeProto], stored: dict[str, np.ndarray], x: np.ndarray, wanted: list[str]
) -> list[np.ndarray]:
    """What onnxruntime makes of the numbers ``x``; they are small enough for float32."""
    graph = helper.make_graph(
        nodes,
        "moving",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", VERSION)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [made.astype(np.int64) for made in session.run(wanted, {"x": x.astype(np.float32)})]


def moved(move: Move, plane: Plane) -> tuple[Plane, ...]:
    if move.type == "Identity":
        return (plane,)
    last = max(move.consts, default=0)
    names = tuple(f"i{at}" if at == 0 or at in move.consts else "" for at in range(last + 1))
    op = Op(
        "op", move.type, "", names, tuple(f"o{at}" for at in range(move.outputs)), _attributes(move), version=VERSION
    )
    site = Site(
        op,
        (plane.shape, *(move.consts[at].shape if at in move.consts else None for at in range(1, last + 1))),
        (None, *(move.consts.get(at) for at in range(1, last + 1))),
        (False, *(True for _ in range(last))),
    )
    return LAYOUTS[move.type](site, [plane, *([None] * last)], FILL)


def _attributes(move: Move) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, (list, tuple)) else value for name, value in move.attributes.items()
    }


@pytest.mark.parametrize("kind", MOVES)
@MANY
@given(data=st.data())
def test_a_layout_op_moves_ids_as_it_moves_numbers(kind: str, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*(st.sampled_from([1, 2, 4]),) * 4)) if kind == "DepthToSpace" else data.draw(shapes)
    plane = data.draw(some_planes(shape))
    move = data.draw(moves(plane.shape, (kind,)))
    outputs = [f"y{at}" for at in range(move.outputs)]
    node, stored = node_of(move, "x", outputs, "m")
    expected = computed([node], stored, plane.full(), outputs)
    found = moved(move, plane)
    assert [made.shape for made in found] == [made.shape for made in expected]
    for made, wanted in zip(found, expected, strict=True):
        assert np.array_equal(made.full(), wanted), move
        assert all(stored in (1, size) for stored, size in zip(made.data.shape, made.shape, strict=True))


@MANY
@given(data=st.data())
def test_chains_of_layout_ops_move_ids_as_they_move_numbers(data: st.DataObject) -> None:
    plane = data.draw(some_planes(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple))))
    nodes, stored, name, current = [], {}, "x", plane
    for step in range(data.draw(st.integers(2, 6))):
        if not prod(current.shape) or prod(current.shape) > 4000 or not current.shape or len(current.shape) > 6:
            break
        move = data.draw(moves(current.shape))
        outputs = [f"v{step}_{at}" for at in range(move.outputs)]
        node, consts = node_of(move, name, outputs, f"m{step}")
        nodes.append(node)
        stored.update(consts)
        which = data.draw(st.integers(0, move.outputs - 1))
        current, name = moved(move, current)[which], outputs[which]
    assume(nodes)
    assert np.array_equal(current.full(), computed(nodes, stored, plane.full(), [name])[0])


@MANY
@given(data=st.data())
def test_pieces_join_as_arrays_do(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    axis = data.draw(st.integers(0, len(shape) - 1))
    parts = []
    for _ in range(data.draw(st.integers(1, 4))):
        size = data.draw(st.integers(0, 3))
        part = data.draw(some_planes((*shape[:axis], max(size, 1), *shape[axis + 1 :])))
        parts.append(planes.cut(part, axis, slice(0, size)))
    whole = planes.join(parts, [part.shape[axis] for part in parts], axis)
    expected = np.concatenate([part.full() for part in parts], axis)
    assert whole.shape == expected.shape
    assert np.array_equal(whole.full(), expected)


@MANY
@given(data=st.data())
def test_scattering_overwrites_as_arrays_do(data: st.DataObject) -> None:
    plane = data.draw(some_planes())
    depth = data.draw(st.integers(1, len(plane.shape)))
    corners = list(product(*(range(size) for size in plane.shape[:depth])))
    chosen = data.draw(st.lists(st.sampled_from(corners), min_size=1, max_size=4, unique=True))
    indices = np.array(chosen, np.int64) - data.draw(st.sampled_from([0, 1])) * np.array(plane.shape[:depth])
    updates = data.draw(some_planes((len(chosen), *plane.shape[depth:])))
    op = Op("op", "ScatterND", "", ("a", "i", "u"), ("o",), version=VERSION)
    site = Site(op, (plane.shape, indices.shape, updates.shape), (None, indices, None), (False, True, False))
    (found,) = LAYOUTS["ScatterND"](site, [plane, None, updates], FILL)
    expected = plane.full().copy()
    for row, place in enumerate(chosen):
        expected[place] = updates.full()[row]
    assert np.array_equal(found.full(), expected)


@MANY
@given(data=st.data())
def test_a_compressed_plane_reshapes_as_the_array_it_stands_for(data: st.DataObject) -> None:
    plane = data.draw(some_planes(data.draw(st.lists(st.integers(1, 6), min_size=0, max_size=5).map(tuple))))
    flat = prod(plane.shape)
    shape: list[int] = []
    while flat > 1 and len(shape) < 4:
        shape.append(data.draw(st.sampled_from([d for d in range(1, flat + 1) if flat % d == 0])))
        flat //= shape[-1]
    wanted = (*shape, flat)
    found = planes.reshape(plane, wanted)
    assert np.array_equal(found.full(), plane.full().reshape(wanted))
    assert np.array_equal(planes.reshape(found, plane.shape).full(), plane.full())
    assert planes.tighten(plane).data.size <= plane.data.size
    assert np.array_equal(planes.tighten(plane).full(), plane.full())


def carried(
    full: np.ndarray,
    operand: list[tuple[str, ...]],
    result: list[tuple[str, ...]],
    sizes: dict[str, int],
    mixed: set[str],
) -> np.ndarray:
    """What arrives, place by place: the one number found at all places of the operand with these indices, or MIXED."""
    names = list(dict.fromkeys(name for axis in operand for name in axis))
    kept = [name for axis in result for name in axis]
    found: dict[tuple[int, ...], set[int]] = {}
    for places in product(*(range(sizes[name]) for name in names)):
        at = dict(zip(names, places, strict=True))
        index = tuple(
            int(np.ravel_multi_index([at[name] for name in axis], [sizes[name] for name in axis])) if axis else 0
            for axis in operand
        )
        key = tuple(at[name] for name in names if name in kept and name not in mixed)
        found.setdefault(key, set()).add(int(full[index]))
    shape = [prod(sizes[name] for name in axis) for axis in result]
    expected = np.zeros(shape, np.int64)
    for place in np.ndindex(*shape):
        at = {}
        for axis, number in zip(result, place, strict=True):
            at.update(zip(axis, np.unravel_index(number, [sizes[name] for name in axis]) if axis else (), strict=True))
        numbers = found[tuple(int(at[name]) for name in names if name in kept and name not in mixed)]
        expected[place] = numbers.pop() if len(numbers) == 1 else MIXED
        numbers.add(expected[place]) if expected[place] != MIXED else None
    return expected


@settings(MANY, max_examples=200)
@given(data=st.data())
def test_ids_are_carried_by_a_rule_as_whole_arrays_would_be(data: st.DataObject) -> None:
    letters = data.draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
    sizes = {name: data.draw(st.integers(1, 3)) for name in "abcdef"}

    def axes(names: list[str]) -> list[tuple[str, ...]]:
        made: list[tuple[str, ...]] = []
        for name in names:
            if made and data.draw(st.booleans()):
                made[-1] = (*made[-1], name)
            else:
                made.append((name,))
        return made

    operand = axes(letters)
    if data.draw(st.integers(0, 3)) == 0:
        operand.append((letters[0],))
    if data.draw(st.booleans()):
        operand.insert(data.draw(st.integers(0, len(operand))), ())
    kept = [name for name in letters if data.draw(st.booleans())] + (["e"] if data.draw(st.booleans()) else [])
    result = axes(data.draw(st.permutations(kept)))
    mixed = {name for name in kept if name in letters and data.draw(st.integers(0, 3)) == 0}
    shape = tuple(prod(sizes[name] for name in axis) for axis in operand)
    plane = data.draw(some_planes(shape))
    made = tuple(prod(sizes[name] for name in axis) for axis in result)
    found = carry(plane, operand, result, made, sizes, mixed)
    assert found.shape == made
    assert np.array_equal(found.full(), carried(plane.full(), operand, result, sizes, mixed))


@st.composite
def runs(draw: Any) -> list[int]:
    """Global numbers as graphs make them: runs, repeats, strides, single ones, nobody, mixed, unknown."""
    numbers: list[int] = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["run", "repeat", "scatter", "code"]))
        start, count = draw(st.integers(0, 59)), draw(st.integers(1, 9))
        if kind == "run":
            step = draw(st.sampled_from([-2, -1, 1, 2, 7]))
            numbers.extend(start + step * i for i in range(count) if 0 <= start + step * i < 60)
        elif kind == "repeat":
            times = draw(st.integers(1, 4))
            numbers.extend(min(start + i // times, 59) for i in range(count))
        elif kind == "scatter":
            numbers.extend(draw(st.lists(st.integers(0, 59), max_size=12)))
        else:
            numbers.extend([draw(st.sampled_from([CONSTANT, MIXED, FIRST_UNKNOWN, FIRST_UNKNOWN - 1]))] * count)
    return numbers


SOURCES = (
    Source("input", "x", 0, 13),
    Source("layer", "fc", 13, 20),
    Source("lookup", "words", 33, 1),
    Source("layer", "out", 34, 26),
)


@settings(MANY, max_examples=300)
@given(numbers=runs())
def test_segments_say_exactly_what_the_numbers_say(numbers: list[int]) -> None:
    wiring = Wiring(SOURCES, (), {}, ("it is not known", "nobody can tell"))
    segments = segments_of(wiring, np.array(numbers, np.int64))
    read: list[tuple[str, int]] = []
    for segment in segments:
        assert segment.start == len(read)
        assert segment.sent == (segment.source in wiring.source)
        for s in range(segment.start, segment.stop):
            if not segment.sent:
                read.append((segment.source, 0))
            elif segment.neurons is not None:
                read.append((segment.source, segment.neurons[s - segment.start]))
            else:
                read.append((segment.source, segment.first + segment.step * ((s - segment.start) // segment.repeat)))
    assert read == [wiring.describe(number) for number in numbers]
    assert numbers_of(wiring, segments).tolist() == numbers


@settings(MANY, max_examples=80)
@given(data=st.data())
def test_a_chain_between_two_layers_is_followed_to_the_element(data: st.DataObject) -> None:
    """The whole tool: a linear, random layout ops, a linear, against onnxruntime moving the numbers of the neurons."""
    width = data.draw(st.sampled_from([4, 6, 12, 16]))
    plane = planes.along((2, 3, width), 2)
    nodes, stored, name, current = [], {}, "x", plane
    for step in range(data.draw(st.integers(1, 5))):
        if not current.shape or not prod(current.shape) or prod(current.shape) > 4000 or len(current.shape) > 6:
            break
        move = data.draw(moves(current.shape))
        outputs = [f"v{step}_{at}" for at in range(move.outputs)]
        node, consts = node_of(move, name, outputs, f"m{step}")
        nodes.append(node)
        stored.update(consts)
        which = data.draw(st.integers(0, move.outputs - 1))
        current, name = moved(move, current)[which], outputs[which]
    assume(nodes and len(current.shape) > 0 and 0 < prod(current.shape) <= 4000)
    (expected,) = computed(nodes, stored, plane.full(), [name])
    wiring = graphneurons.analyze(_between(nodes, stored, name, width, expected.shape[-1])).wiring
    claims = Claims(wiring)
    last = list(wiring.synapses.values())[-1][0]
    by_channel = expected.reshape(-1, expected.shape[-1])
    first = next(iter(wiring.synapses))
    for synapse, number in enumerate(last.neurons):
        claim = claims.of(int(number))
        assert not claim.reasons, claim.reasons
        wanted = {(first, int(neuron)) for neuron in by_channel[:, synapse] if neuron != FILL}
        if not claim.mixed:
            assert claim.neurons == wanted


def _between(
    nodes: list[onnx.NodeProto], stored: dict[str, np.ndarray], name: str, width: int, into: int
) -> graphneurons.ModelGraph:
    weights = {"first": np.ones((5, width), np.float32), "last": np.ones((into, 2), np.float32)}
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["in", "first"], ["x"], name="one"),
            *nodes,
            helper.make_node("MatMul", [name, "last"], ["out"], name="two"),
        ],
        "between",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [2, 3, 5])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, key) for key, value in {**weights, **stored}.items()],
    )
    return loaded(helper.make_model(body, opset_imports=[helper.make_opsetid("", VERSION)], ir_version=9))


def loaded(model: onnx.ModelProto) -> graphneurons.ModelGraph:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        onnx.save(model, str(path))
        return graphneurons.load(path)


def chain(blocks: int, width: int = 16) -> onnx.ModelProto:
    """A residual stream: each block reads it and adds to it."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["s0"])]
    for index in range(blocks):
        nodes += [
            helper.make_node("MatMul", [f"s{index}", f"w{index}"], [f"h{index}"]),
            helper.make_node("Relu", [f"h{index}"], [f"r{index}"]),
            helper.make_node("Add", [f"s{index}", f"r{index}"], [f"s{index + 1}"]),
        ]
    nodes.append(helper.make_node("MatMul", [f"s{blocks}", "w"], ["y"]))
    weights = ["w", *(f"w{index}" for index in range(blocks))]
    body = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, width])],
        [numpy_helper.from_array(np.ones((width, width), np.float32), name) for name in weights],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", VERSION)], ir_version=9)


def test_a_residual_stream_costs_what_its_blocks_cost() -> None:
    counts = []
    for blocks in (24, 48, 96):
        wiring = graphneurons.analyze(loaded(chain(blocks))).wiring
        segments = sum(len(wiring.segments(item.neurons)) for items in wiring.synapses.values() for item in items)
        members = [member for junction in wiring.junctions for member in junction.members]
        segments += sum(len(wiring.segments(member)) for member in members)
        counts.append(
            np.array([len(wiring.sources), len(wiring.junctions), len(members), segments, sum(m.size for m in members)])
        )
    small, middle, large = counts
    assert (large - middle == 2 * (middle - small)).all()
    assert small[1] == 24
    assert large[3] <= 5 * 96
