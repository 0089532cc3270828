"""The numeric proof of a rule on the real op: permuted, perturbed and zeroed operands go through onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from graphneurons.axes.binding import Binding, Factors
from graphneurons.axes.labelling import label_operand
from tests.rules.case import Array, Case

SEGMENTS = {
    "gate": "gates have different activations",
    "p": "peepholes belong to different gates",
    "b": "the biases of W and R are two roles",
    "qkv": "query, key and value play different roles",
    "kv": "key and value play different roles",
    "part": "gate and value play different roles",
    "half": "gate and value play different roles",
    "d": "directions of a recurrence differ",
}
"""Factors whose order means something, wherever they appear (``d`` in recurrent rules only)."""

WINDOWED = frozenset({"conv", "conv_transpose", "pool", "resize"})
_WINDOW = re.compile(r"[stk]\d*$")
_DOMAINS = (
    ("com.microsoft", 1),
    ("ai.onnx.ml", 3),
    ("ai.onnx.preview", 1),
    ("com.ms.internal.nhwc", 19),
    ("com.microsoft.nchwc", 1),
)


class Model:
    """A model of one op, loaded once (or anew for every run where operands must be initializers)."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.arrays = case.arrays()
        self.session = None if case.initializers else self._session(self.arrays)

    def _session(self, arrays: Sequence[Array | None]) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        model = self.written(self.case, arrays).SerializeToString()
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @staticmethod
    def written(case: Case, arrays: Sequence[Array | None] | None = None) -> onnx.ModelProto:
        """The model of one op."""
        arrays = case.arrays() if arrays is None else arrays
        node = helper.make_node(
            case.op,
            ["" if array is None else f"x{index}" for index, array in enumerate(arrays)],
            [f"y{index}" for index in range(case.outputs)],
            domain=case.domain,
            **case.attributes,
        )
        inputs, initializers = [], []
        for index, array in enumerate(arrays):
            if array is None:
                continue
            if index in case.initializers:
                initializers.append(numpy_helper.from_array(array, f"x{index}"))
            else:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                inputs.append(helper.make_tensor_value_info(f"x{index}", kind, array.shape))
        outputs = [onnx.ValueInfoProto(name=f"y{index}") for index in range(case.outputs)]
        if case.makes:
            outputs = [helper.make_tensor_value_info(value.name, _kind(case.makes), None) for value in outputs]
        graph = helper.make_graph([node], "case", inputs, outputs, initializers)
        opsets = [
            helper.make_opsetid("", case.opset),
            *(helper.make_opsetid(domain, version) for domain, version in _DOMAINS),
        ]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def run(self, arrays: Sequence[Array | None]) -> list[Array]:
        session = self.session or self._session(arrays)
        feeds = {
            f"x{index}": array
            for index, array in enumerate(arrays)
            if array is not None and index not in self.case.initializers
        }
        return [np.asarray(result) for result in session.run(None, feeds)]


def _kind(dtype: str) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def factors_of(binding: Binding) -> list[str]:
    """Every factor with a size above one that an operand carries."""
    found = dict.fromkeys(name for axes in binding.operands if axes for axis in axes for name in axis)
    return [name for name in found if binding.sizes.get(name, 1) > 1]


def permutable(case: Case, binding: Binding) -> list[str]:
    """The factors whose order must not matter."""
    kind = binding.rule.kind
    kept = []
    for name in factors_of(binding):
        if name in case.fixed or (name in binding.picked and name not in case.indices):
            continue
        if name in SEGMENTS and (name != "d" or kind == "recurrent"):
            continue
        if kind == "recurrent" and name == "t":
            continue
        if kind in WINDOWED and _WINDOW.match(name):
            continue
        kept.append(name)
    return kept


def along(array: Array, axes: Sequence[Factors] | None, sizes: dict[str, int], name: str, order: Array) -> Array:
    """``array`` with the indices of factor ``name`` taken in ``order``, wherever it is part of an axis."""
    for position, axis in enumerate(axes or ()):
        if name not in axis:
            continue
        shape = array.shape
        inner = [sizes[factor] for factor in axis]
        split = array.reshape(*shape[:position], *inner, *shape[position + 1 :])
        array = np.take(split, order, axis=position + axis.index(name)).reshape(shape)
    return array


def groups(case: Case, binding: Binding) -> Iterator[tuple[str, ...]]:
    """Factors to permute, those that belong together at once."""
    tied = {name: group for group in case.together for name in group}
    seen: set[str] = set()
    for name in permutable(case, binding):
        if name not in seen:
            group = tied.get(name, (name,))
            seen.update(group)
            yield group


def permuted(
    case: Case, binding: Binding, group: tuple[str, ...], arrays: Sequence[Array | None], order: Array
) -> list[Array | None]:
    """All operands with the factors of ``group`` taken in ``order``; indices into a picked factor follow."""
    sizes = dict(binding.sizes)
    made: list[Array | None] = []
    for index, array in enumerate(arrays):
        axes = binding.operands[index] if index < len(binding.operands) else None
        for name in group:
            if array is None:
                break
            array = along(array, axes, sizes, name, order)
            if case.indices.get(name) == index:
                array = np.argsort(order)[array].astype(array.dtype)
        made.append(array)
    return made


def same(left: Array, right: Array, tolerance: float) -> bool:
    if left.dtype.kind in "iub":
        return bool(np.abs(left.astype(np.int64) - right.astype(np.int64)).max(initial=0) <= (tolerance >= 1))
    return bool(np.allclose(left, right, atol=tolerance, rtol=tolerance, equal_nan=True))


def not_equivariant(case: Case, make: Callable[[Case], Model] = Model) -> list[str]:
    """The factors whose permutation does not commute with the op."""
    binding, model = case.binding(), make(case)
    plain = model.run(model.arrays)
    wrong = []
    for group in groups(case, binding):
        size = binding.sizes[group[0]]
        order = np.roll(np.arange(size), 1)
        order[:2] = order[:2][::-1] if size > 2 else order[:2]
        got = model.run(permuted(case, binding, group, model.arrays, order))
        for index, (before, after) in enumerate(zip(plain, got, strict=True)):
            if index >= len(binding.results) or binding.rule.results[index].mark == "_":
                continue
            wanted = before
            for name in group:
                wanted = along(wanted, binding.results[index], dict(binding.sizes), name, order)
            if not same(wanted, after, case.tolerance):
                wrong.append(f"{'='.join(group)} at result {index}")
    return wrong


def wrong_shapes(case: Case, make: Callable[[Case], Model] = Model) -> list[str]:
    """Results whose real shape is not the one the rule makes."""
    binding, model = case.binding(), make(case)
    wrong = []
    for index, result in enumerate(model.run(model.arrays)):
        axes = binding.results[index] if index < len(binding.results) else None
        if axes is None:
            continue
        if len(axes) != result.ndim:
            wrong.append(f"result {index}: rule has {len(axes)} axes, the op makes {result.ndim}")
            continue
        for at, (axis, size) in enumerate(zip(axes, result.shape, strict=True)):
            if all(name in binding.sizes for name in axis) and prod(binding.sizes[name] for name in axis) != size:
                wrong.append(f"result {index}, axis {at}: rule says {axis}, the op makes {size}")
    return wrong


def slot(axes: Sequence[Factors], sizes: dict[str, int], wanted: dict[str, int], shape: Sequence[int]) -> Array:
    """True where every factor of ``wanted`` that these axes carry has its index."""
    mask = np.ones(shape, dtype=bool)
    for position, axis in enumerate(axes):
        if not set(axis) & set(wanted):
            continue
        digits = np.unravel_index(np.arange(shape[position]), [sizes[name] for name in axis])
        for name, digit in zip(axis, digits, strict=True):
            if name in wanted:
                view = [1] * len(shape)
                view[position] = shape[position]
                mask &= (digit == wanted[name]).reshape(view)
    return mask


def bump(array: Array) -> Array:
    """Other numbers of the same type."""
    if array.dtype == bool:
        return ~array
    if array.dtype.kind in "iu":
        return (array ^ np.array(0x15, array.dtype)).astype(array.dtype)
    return (array * -0.5 + 1.7).astype(array.dtype)


def moving(before: Array, after: Array, noise: float) -> Array:
    """Where a result changed by more than ``noise``, relative to its largest element."""
    left, right = before.astype(np.float64), after.astype(np.float64)
    largest = max(1.0, float(np.abs(left).max(initial=0.0)))
    return np.asarray(~np.isclose(left, right, rtol=0.0, atol=noise * largest, equal_nan=True))


def leaking_neurons(case: Case, make: Callable[[Case], Model] = Model) -> list[str]:
    """Neuron and shared factors of weights whose slice changes other places of the results than its own, or none."""
    binding, model = case.binding(), make(case)
    plain = model.run(model.arrays)
    sizes, wrong = dict(binding.sizes), []
    for operand in case.weights:
        array, axes = model.arrays[operand], binding.operands[operand]
        if array is None or axes is None or not binding.rule.operands[operand].contracts:
            continue
        roles = label_operand(binding, operand).roles
        for name, role in roles.items():
            if role not in ("neuron", "shared") or sizes[name] < 2 or name in case.fixed:
                continue
            wanted = {name: sizes[name] - 1}
            # What an attention puts out follows its values, the last of query, key and value.
            wanted.update({segment: sizes[segment] - 1 for segment in ("qkv", "kv") if segment in roles})
            mask = slot(axes, sizes, wanted, array.shape)
            arrays = list(model.arrays)
            arrays[operand] = np.where(mask, bump(array), array).astype(array.dtype)
            got = model.run(arrays)
            moved = False
            for index, (before, after) in enumerate(zip(plain, got, strict=True)):
                if index >= len(binding.results) or binding.rule.results[index].mark == "_":
                    continue
                changed = moving(before, after, case.noise)
                moved |= bool(changed.any())
                result = binding.results[index] or ()
                if case.confined and any(name in axis for axis in result):
                    own = slot(result, sizes, {name: wanted[name]}, before.shape)
                    if (changed & ~own).any():
                        wrong.append(f"operand {operand}, {name}: other neurons of result {index} change")
            if not moved:
                wrong.append(f"operand {operand}, {name}: nothing changes")
    return wrong


def leaking_synapses(case: Case, make: Callable[[Case], Model] = Model) -> list[str]:
    """Synapse factors of weights that let their source through although the weight is zero there, or never do."""
    binding, model = case.binding(), make(case)
    sizes, wrong = dict(binding.sizes), []
    for operand in case.weights:
        array, axes = model.arrays[operand], binding.operands[operand]
        if array is None or axes is None or not binding.rule.operands[operand].contracts:
            continue
        for name, role in label_operand(binding, operand).roles.items():
            if role != "synapse" or sizes[name] < 2:
                continue
            sources = [
                index
                for index, other in enumerate(binding.operands)
                if other
                and binding.rule.operands[index].contracts
                and index not in (operand, *case.weights)
                and any(name in axis for axis in other)
            ]
            if not sources:
                continue
            wanted = {name: sizes[name] - 1}
            zeroed = list(model.arrays)
            zeroed[operand] = np.where(slot(axes, sizes, wanted, array.shape), 0, array).astype(array.dtype)
            for source in sources:
                wrong.extend(
                    f"operand {operand}, {name}: {told}"
                    for told in _through(case, binding, model, zeroed, source, wanted)
                )
    return wrong


def _through(
    case: Case, binding: Binding, model: Model, zeroed: list[Array | None], source: int, wanted: dict[str, int]
) -> Iterator[str]:
    """Whether the source still reaches the results (it must not), and whether it did before (it must)."""
    sizes, axes = dict(binding.sizes), binding.operands[source]
    moved = []
    for arrays in (zeroed, model.arrays):
        array = arrays[source]
        assert array is not None
        assert axes is not None
        other = list(arrays)
        other[source] = np.where(slot(axes, sizes, wanted, array.shape), bump(array), array).astype(array.dtype)
        changed = False
        for index, (before, after) in enumerate(zip(model.run(arrays), model.run(other), strict=True)):
            if (
                index >= len(binding.sums)
                and binding.rule.results != binding.rule.sums
                and not _carries_sum(binding, index)
            ):
                continue
            places = moving(before, after, case.noise)
            # A unit's own state enters its own output besides its recurrent synapses.
            units = {
                tied: wanted[name] for name in wanted for group in case.together if name in group for tied in group
            }
            if units:
                places &= ~slot(binding.results[index] or (), sizes, units, before.shape)
            changed |= bool(places.any())
        moved.append(changed)
    if moved[0]:
        yield f"operand {source} reaches the results past a zero weight"
    if not moved[1]:
        yield f"operand {source} never reaches the results"


def _carries_sum(binding: Binding, index: int) -> bool:
    result = binding.results[index] if index < len(binding.results) else None
    made = {name for axes in binding.sums for axis in axes or () for name in axis}
    contracted = {name for axes in binding.operands for axis in axes or () for name in axis} - made
    return result is not None and not contracted & {name for axis in result for name in axis}
