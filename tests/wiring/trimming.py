"""Deletes one index of a coupled group from a model file, with the sizes that its graph holds, as a pruner would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from graphneurons.analysis import Analysis
from graphneurons.axes.binding import Binding
from graphneurons.graph import Op
from graphneurons.wiring.closing import close
from graphneurons.wiring.coupling import couple
from graphneurons.wiring.group_records import Group
from tests.wiring.pruning import Weights

Cut = npt.NDArray[np.bool_]

MEANS = frozenset({"normalisation", "softmax", "reduce"})


class UnpatchedError(Exception):
    """The graph holds sizes that this helper does not know how to lower."""


@dataclass
class Trimming:
    """Which positions along every axis of every value are gone. ``cuts``: value -> one mask per axis."""

    analysis: Analysis
    cuts: dict[str, list[Cut]]

    def is_cut(self, name: str) -> bool:
        return any(mask.any() for mask in self.cuts.get(name, ()))

    def shape(self, name: str) -> list[int]:
        return [int((~mask).sum()) for mask in self.cuts[name]]

    def takes_means(self) -> Iterator[Op]:
        """Ops that average or normalise over an axis of which something is gone."""
        resolution = self.analysis.resolution
        assert resolution is not None
        for op in resolution.graph.ops:
            step = resolution.steps[op.name]
            if op.type == "Shape" and self.is_cut(op.inputs[0]) and self._scales(op):
                yield op
            if not isinstance(step, Binding) or step.rule.kind not in MEANS or op.type == "BatchNormalization":
                continue
            axes, result = step.operands[0], step.results[0]
            masks = self.cuts.get(op.inputs[0])
            if axes is None or masks is None:
                continue
            kept = {name for axis in result or () for name in axis}
            for mask, names in zip(masks, axes, strict=True):
                if mask.any() and (set(names) & step.mixed or not set(names) <= kept):
                    yield op

    def _scales(self, op: Op) -> bool:
        """Whether a size is made a scale: attention over the root of a head's width."""
        graph = self.analysis.graph
        front = [op]
        for _ in range(8):
            front = [reader for item in front for name in item.outputs for reader in graph.consumers.get(name, ())]
            if any(reader.type in ("Sqrt", "Pow", "Reciprocal") for reader in front):
                return True
        return False


def trimming(analysis: Analysis, group: Group, index: int) -> Trimming:
    """What is gone where once index ``index`` of ``group`` is cut: its own coordinates and all that follows."""
    assert analysis.resolution is not None
    walk = couple(analysis.resolution)
    closed = close(walk.ledger.ties)
    gone = np.zeros(closed.label.size + 1, dtype=bool)
    for root, axis, coordinates in group.cut(index):
        slots = walk.states[root][axis]
        assert slots is not None
        assert not isinstance(slots, int)
        gone[closed.label[slots[coordinates]]] = True
    for _ in range(8):
        before = gone.sum()
        for grid in walk.ledger.grids:
            parent = _at(gone, closed.label, grid.parent)
            for child, places in zip(grid.children, grid.places, strict=True):
                whole = np.ones(child.size, dtype=bool)
                np.logical_and.at(whole, places, parent)
                gone[closed.label[child[whole & (child >= 0)]]] = True
            for child, places in zip(grid.children, grid.places, strict=True):
                lost = _at(gone, closed.label, child)[places]
                gone[closed.label[grid.parent[lost & (grid.parent >= 0)]]] = True
        gone[-1] = False
        if gone.sum() == before:
            break
    cuts: dict[str, list[Cut]] = {}
    for name, state in walk.states.items():
        masks = []
        for slots, size in zip(state, analysis.resolution.shapes[name], strict=True):
            if slots is None or isinstance(slots, int):
                masks.append(np.zeros(size, dtype=bool))
            else:
                masks.append(_at(gone, closed.label, slots))
        cuts[name] = masks
    return Trimming(analysis, cuts)


def _at(gone: Cut, label: npt.NDArray[np.int64], slots: npt.NDArray[np.int64]) -> Cut:
    return gone[np.where(slots >= 0, label[np.maximum(slots, 0)], -1)]


def delete(weights: Weights, group: Group, index: int) -> Weights:
    """The stored tensors without the coordinates of one index."""
    for root, axis, coordinates in group.cut(index):
        weights.arrays[root] = np.delete(weights.arrays[root], coordinates, axis=axis)
    return weights


def silence(weights: Weights, group: Group, index: int) -> Weights:
    """The stored tensors with zeros where the coordinates of one index are."""
    for root, axis, coordinates in group.cut(index):
        array = weights.arrays[root]
        array[(slice(None),) * axis + (coordinates,)] = 0
    return weights


def patched(model: onnx.ModelProto, trimmed: Trimming) -> onnx.ModelProto:
    """``model`` with every size that its graph holds lowered to what is left."""
    graph = model.graph
    del graph.value_info[:]
    added: list[onnx.TensorProto] = []
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def put(node: onnx.NodeProto, index: int, values: Iterable[int]) -> None:
        name = f"patched_{len(added)}"
        added.append(numpy_helper.from_array(np.array(list(values), dtype=np.int64), name))
        while len(node.input) <= index:
            node.input.append("")
        node.input[index] = name

    for node in graph.node:
        touched = [name for name in (*node.input, *node.output) if name in trimmed.cuts and trimmed.is_cut(name)]
        if not touched:
            continue
        _PATCHES.get(node.op_type, _nothing)(node, trimmed, constants, put)
    graph.initializer.extend(added)
    return model


def _nothing(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    return


def _target(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    if trimmed.is_cut(node.output[0]) or trimmed.is_cut(node.input[0]):
        put(node, 1, trimmed.shape(node.output[0]))


def _tiled(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    put(node, 1, [out // size for out, size in zip(*map(trimmed.shape, (node.output[0], node.input[0])), strict=True)])


def _filled(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    put(node, 0, trimmed.shape(node.output[0]))


def _split(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    for attribute in [attribute for attribute in node.attribute if attribute.name == "num_outputs"]:
        node.attribute.remove(attribute)
    put(node, 1, [trimmed.shape(name)[axis] for name in node.output])


def _slice(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    values = trimmed.analysis.resolution.values
    for name in node.input[1:]:
        if name and name not in constants:
            if name not in values:
                raise UnpatchedError("Slice at computed places")
            constants[name] = values[name]
    starts, ends = (constants[node.input[at]].reshape(-1).tolist() for at in (1, 2))
    masks = trimmed.cuts[node.input[0]]
    axes = constants[node.input[3]].reshape(-1).tolist() if len(node.input) > 3 else list(range(len(starts)))
    steps = constants[node.input[4]].reshape(-1).tolist() if len(node.input) > 4 else [1] * len(starts)
    for at, axis in enumerate(axes):
        mask = masks[axis]
        if not mask.any():
            continue
        if steps[at] != 1:
            raise UnpatchedError("Slice with a step")
        kept = np.concatenate([[0], np.cumsum(~mask)])
        start, end, _ = slice(starts[at], ends[at]).indices(mask.size)
        starts[at], ends[at] = int(kept[start]), int(kept[end])
    put(node, 1, starts)
    put(node, 2, ends)


def _gather(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    mask = trimmed.cuts[node.input[0]][axis]
    if not mask.any():
        return
    if node.input[1] not in constants:
        raise UnpatchedError("Gather by a computed index")
    indices = constants[node.input[1]] % mask.size
    if indices.ndim != 1:
        raise UnpatchedError(f"Gather by indices of {indices.ndim} axes")
    put(node, 1, (np.cumsum(~mask) - 1)[indices[~mask[indices]]].tolist())


def _convolution(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    for attribute in node.attribute:
        if attribute.name == "group":
            channels, per_group = trimmed.shape(node.input[0])[1], trimmed.shape(node.input[1])
            attribute.i = channels // (
                per_group[1] if node.op_type == "Conv" else per_group[0] // _groups_left(attribute.i, node, trimmed)
            )


def _groups_left(groups: int, node: onnx.NodeProto, trimmed: Trimming) -> int:
    """Groups of a transposed convolution, whose weight does not tell how many inputs each has."""
    outputs, each = trimmed.shape(node.output[0])[1], trimmed.shape(node.input[1])[1]
    assert outputs % each == 0
    channels = trimmed.shape(node.input[0])[1]
    left = outputs // each
    return left if channels % left == 0 else groups


def _recurrent(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    for attribute in node.attribute:
        if attribute.name == "hidden_size":
            attribute.i = trimmed.shape(node.input[2])[-1]


def _grouped(node, trimmed, constants, put):  # type: ignore[no-untyped-def]
    raise UnpatchedError(node.op_type)


_PATCHES = {
    "Reshape": _target,
    "Expand": _target,
    "ConstantOfShape": _filled,
    "Tile": _tiled,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "GroupNormalization": _grouped,
    "DepthToSpace": _nothing,
    "GatherND": _grouped,
    "ScatterND": _grouped,
    "SplitToSequence": _grouped,
    "Loop": _grouped,
    "Scan": _grouped,
    "If": _grouped,
}
