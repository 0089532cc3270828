"""Cut every connection, push one neuron, and see what moves.

What every layer, lookup and input puts out becomes an input of its own, so that nothing reaches further than the next
layers; then one neuron is pushed, everywhere in batch, time and space, and the operands those layers contract are
compared, channel by channel, with what they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from tests.wiring.channels import Reading, Sent
from tests.wiring.expanding import GAIN, expanded
from tests.wiring.flattening import Array, Program, run, started

Floats = npt.NDArray[np.float64]
Still = frozenset[tuple[str, int]]
"""Operands that are held at what they were: (first output of the node, position)."""

CUT = "#cut"


@dataclass(frozen=True)
class Moves:
    """``moves[i, s]``: by how much synapse ``s`` of a reading moved, per unit neuron ``neurons[i]`` was pushed."""

    neurons: tuple[int, ...]
    moves: Floats


class Laboratory:
    """A model taken apart. ``sent``: what is cut; ``readings``: what is watched; ``layers``: what the layers' ops put
    out, which nothing passes."""

    def __init__(
        self,
        program: Program,
        sent: Sequence[Sent],
        readings: Sequence[Reading],
        layers: Iterable[str] = (),
        seed: int = 0,
    ) -> None:
        self.program = expanded(program)
        self.walls = {copy for value in layers for copy in self.program.names(value)}
        self.sent = {item.source.name: item for item in sent}
        self.readings = tuple(readings)
        self.seed = seed
        self.owner = {
            copy: item.source.name for item in sent for value in item.numbers for copy in self.program.names(value)
        }
        self.makers = {name: node for node in self.program.nodes for name in node.output if name}
        self._runs: dict[tuple[str, Still, float], _Trial] = {}

    @cached_property
    def true(self) -> dict[str, Any]:
        """Every value of the model on its example inputs."""
        wanted = [name for node in self.program.nodes for name in node.output if name]
        found = run(self.program, self.program.nodes, self.program.stored.values(), self.program.inputs, wanted)
        return {**self.program.inputs, **found}

    @cached_property
    def nodes(self) -> tuple[onnx.NodeProto, ...]:
        """The nodes, reading cut values where they read what a source puts out."""
        rewired = []
        for node in self.program.nodes:
            twin = onnx.NodeProto()
            twin.CopyFrom(node)
            for index, name in enumerate(node.input):
                if name in self.owner:
                    twin.input[index] = name + CUT
            rewired.append(twin)
        return tuple(rewired)

    def read(self, value: str) -> tuple[str, ...]:
        """The names under which a layer reads ``value``."""
        return tuple(name + CUT if name in self.owner else name for name in self.program.names(value))

    def base(self, spread: float) -> dict[str, Any]:
        """All values when the cut ones are what they truly are and ``spread`` times as much noise.

        Where noise breaks the model (a logarithm, a root) there is none.
        """
        rng = np.random.default_rng(self.seed + int(spread * 1000))
        feeds = dict(self.program.inputs)
        for name in self.owner:
            value = self.true[name]
            noise = rng.standard_normal(value.shape) * size_of(value) * spread
            feeds[name + CUT] = shifted(value, noise) if value.dtype.kind in "fiu" and name in self.makers else value
        wanted = [name for node in self.nodes for name in node.output if name]
        found = {**feeds, **run(self.program, self.nodes, self.program.stored.values(), feeds, wanted)}
        if spread and any(not _finite(found[name]) and _finite(self.true[name]) for name in wanted):
            return self.base(0.0)
        return found

    def bases(self, spread: float) -> dict[str, Any]:
        key = f"base {spread}"
        if key not in self.__dict__:
            self.__dict__[key] = self.base(spread)
        found: dict[str, Any] = self.__dict__[key]
        return found

    def push(
        self, source: str, neurons: Sequence[int], still: Still = frozenset(), spread: float = 0.7, by: float = 0.5
    ) -> dict[tuple[str, int], Moves]:
        """What moves when each of ``neurons`` of ``source`` is pushed up and down: (layer, weight) -> moves.

        ``by``: how far, in units of the usual size of what the source puts out.
        """
        still = still | self.scales
        key = (source, still, spread)
        trial = self._runs.get(key)
        if trial is None:
            trial = self._runs[key] = _Trial(self, source, still, spread)
        return trial.push(neurons, by)

    def bilinear(self) -> list[onnx.NodeProto]:
        """Products of two activations."""
        constant = set(self.program.stored)
        for node in self.program.nodes:
            if node.op_type not in ("RandomNormal",) and all(name in constant for name in node.input if name):
                constant.update(node.output)
        return [
            node
            for node in self.program.nodes
            if node.op_type in ("MatMul", "Einsum", "Gemm", "FusedMatMul")
            and not any(name in constant for name in node.input[:2])
        ]

    @property
    def rounds(self) -> bool:
        """Whether values are rounded to integers on the way: the least change may then move one by a whole step."""
        return any("Quantize" in node.op_type or "QLinear" in node.op_type for node in self.program.nodes)

    @cached_property
    def scales(self) -> Still:
        """The scales of dynamic quantization: one step of one of them makes whole tensors jump."""
        nodes = self.program.nodes
        return frozenset((node.output[0], -1) for node in nodes if node.op_type == "DynamicQuantizeLinear")

    @cached_property
    def softmaxes(self) -> Still:
        """What softmax puts out, and the scores inside fused attention."""
        held: set[tuple[str, int]] = set()
        for node in self.program.nodes:
            if node.op_type in ("Softmax", "LogSoftmax", "QLinearSoftmax"):
                held.add((node.output[0], -1))
            elif node.op_type in FUSED:
                held.update((node.output[0], index) for index in (0, 1))
        return frozenset(held)

    @cached_property
    def statistics(self) -> Still:
        """Reductions that are broadcast back over what they reduced: means, variances, sums of exponentials."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.program.nodes:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        held = set()
        for node in self.program.nodes:
            if node.output[0].endswith(GAIN):
                held.add((node.output[0], -1))
            if not node.op_type.startswith("Reduce") or node.input[0] not in self.true:
                continue
            before, after = self.true[node.input[0]].shape, self.true[node.output[0]].shape
            if len(before) != len(after):
                continue
            axes = [axis for axis, size in enumerate(before) if after[axis] == 1 < size]
            waiting, seen = [node.output[0]], {node.output[0]}
            while waiting:
                for reader in readers.get(waiting.pop(), ()):
                    name = reader.output[0]
                    shape = getattr(self.true.get(name), "shape", ())
                    if reader.op_type not in ELEMENTWISE or len(shape) != len(before) or name in seen:
                        continue
                    if any(shape[axis] > 1 for axis in axes):
                        held.add((node.output[0], -1))
                    elif name not in self.owner:
                        seen.add(name)
                        waiting.append(name)
        return frozenset(held)


FUSED = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention"})
ELEMENTWISE = frozenset(
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Sqrt",
        "Pow",
        "Reciprocal",
        "Exp",
        "Log",
        "Neg",
        "Max",
        "Min",
        "Clip",
        "Abs",
        "Where",
        "Cast",
        "Sum",
        "Rsqrt",
        "Identity",
        "Sigmoid",
        "Relu",
    ]
)


class _Trial:
    """One source, some operands held still: the nodes between it and the next layers, ready to run."""

    def __init__(self, lab: Laboratory, source: str, still: Still, spread: float) -> None:
        self.lab = lab
        self.sent = lab.sent[source]
        self.base = lab.bases(spread)
        program = lab.program
        self.cuts = [
            (copy + CUT, numbers) for value, numbers in self.sent.numbers.items() for copy in program.names(value)
        ]
        reached = {name for name, _ in self.cuts}
        nodes = []
        for node in lab.nodes:
            twin = _held(node, still, reached)
            if twin is None or not any(name in reached for name in twin.input):
                continue
            if (node.output[0], -1) in still or any(name in lab.walls for name in node.output):
                continue
            nodes.append(twin)
            reached.update(name for name in node.output if name)
        self.watched = [
            (reading, operand, name)
            for reading in lab.readings
            for operand in reading.operands
            for name in lab.read(operand.value)
            if name in reached
        ]
        needed = {name for _, _, name in self.watched}
        kept = []
        for node in reversed(nodes):
            if any(name in needed for name in node.output):
                kept.append(node)
                needed.update(node.input)
        kept.reverse()
        self.call = None
        if self.watched:
            self._start(kept, reached)

    def _start(self, nodes: list[onnx.NodeProto], reached: set[str]) -> None:
        lab = self.lab
        made = {name for node in nodes for name in node.output}
        stored: dict[str, onnx.TensorProto] = {}
        waiting = [name for node in nodes for name in node.input]
        extra: list[onnx.NodeProto] = []
        while waiting:
            name = waiting.pop()
            if not name or name in made or name in stored or name in {cut for cut, _ in self.cuts}:
                continue
            if name in lab.program.stored:
                stored[name] = lab.program.stored[name]
                continue
            value = self.base[name.removesuffix(HELD)]
            if isinstance(value, np.ndarray) and value.dtype.kind not in "OUS":
                stored[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
                continue
            maker = lab.makers[name.removesuffix(HELD)]
            extra.append(maker)
            made.update(maker.output)
            waiting.extend(maker.input)
        order = {id(node): at for at, node in enumerate(lab.program.nodes)}
        extra.sort(key=lambda node: order[id(node)])
        names = list(dict.fromkeys(name for _, _, name in self.watched))
        # A value that is cut and contracted directly is no output of any node: it is passed on by name.
        ends = [helper.make_node("Identity", [name], [f"{name}#seen"]) for name in names]
        feeds = {name: self.base[name] for name, _ in self.cuts}
        self.feeds = feeds
        used = {name for node in (*extra, *nodes, *ends) for name in node.input}
        self.call = started(
            lab.program,
            [*extra, *nodes, *ends],
            stored.values(),
            {name: value for name, value in feeds.items() if name in used},
            [f"{name}#seen" for name in names],
        )
        self.used = [name for name in feeds if name in used]
        self.before = self.call({name: feeds[name] for name in self.used})

    def push(self, neurons: Sequence[int], by: float) -> dict[tuple[str, int], Moves]:
        if self.call is None:
            return {}
        found = {
            (reading.layer, reading.weight): np.zeros((len(neurons), reading.count)) for reading, _, _ in self.watched
        }
        rng = np.random.default_rng(self.lab.seed + 1)
        patterns = {name: rng.uniform(0.5, 1.5, self.feeds[name].shape) for name in self.used}
        for row, neuron in enumerate(neurons):
            for sign in (1, -1):
                feeds, step = {}, 1.0
                for name, numbers in self.cuts:
                    if name not in self.used:
                        continue
                    value = self.feeds[name]
                    step = size_of(value) * by
                    there = np.broadcast_to(numbers == neuron, value.shape)
                    feeds[name] = shifted(value, np.where(there, patterns[name] * step * sign, 0.0))
                after = self.call(feeds)
                for reading, operand, name in self.watched:
                    change = np.abs(_numbers(after[f"{name}#seen"]) - _numbers(self.before[f"{name}#seen"])) / step
                    line = found[reading.layer, reading.weight][row, operand.start : operand.start + operand.count]
                    np.maximum(line, operand.widest(np.nan_to_num(change)), out=line)
        return {key: Moves(tuple(neurons), moves) for key, moves in found.items()}


HELD = "#held"


def _held(node: onnx.NodeProto, still: Still, reached: set[str]) -> onnx.NodeProto | None:
    """``node`` with the operands of ``still`` renamed to what they were."""
    positions = [index for output, index in still if index >= 0 and output == node.output[0]] if still else []
    chosen = [index for index in positions if index < len(node.input) and node.input[index] in reached]
    if not chosen:
        return node
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    for index in chosen:
        twin.input[index] = node.input[index] + HELD
    return twin


def size_of(value: Array) -> float:
    """The usual size of the numbers of ``value``, at least a hundredth of one; of integers, how far they spread."""
    numbers = _numbers(value)
    if not numbers.size:
        return 0.01
    if value.dtype.kind != "f":
        return max(float(numbers.std()), 8.0)
    return max(float(np.sqrt(np.mean(np.square(numbers)))), 0.01)


def shifted(value: Array, by: Floats) -> Array:
    """``value`` moved ``by`` so much, in its own type: integers by at least one where they move at all."""
    if value.dtype.kind == "f":
        return (value.astype(np.float64) + by).astype(value.dtype)
    if value.dtype.kind == "b":
        return value ^ (by != 0)
    limits = np.iinfo(value.dtype)
    whole = np.where(by > 0, np.ceil(by), np.floor(by))
    moved: Array = np.clip(value.astype(np.float64) + whole, limits.min, limits.max).astype(value.dtype)
    return moved


def _numbers(value: Array) -> Floats:
    return np.asarray(value, dtype=np.float64)


def _finite(value: Any) -> bool:
    return not isinstance(value, np.ndarray) or value.dtype.kind != "f" or bool(np.isfinite(value).all())


def chosen(
    numbers: Sequence[int], seed: int, most: int = 24, sample: int = 16, bounds: Iterable[int] = ()
) -> tuple[int, ...]:
    """All neurons of a small source; of a large one the first, the last, those at ``bounds`` and a random few."""
    if len(numbers) <= most:
        return tuple(numbers)
    fixed = {numbers[0], numbers[-1], *(bound for bound in bounds if bound in numbers)}
    rng = np.random.default_rng(seed)
    others = rng.permutation([number for number in numbers if number not in fixed])
    return tuple(sorted({*fixed, *others[: max(0, sample - len(fixed))].tolist()}))
