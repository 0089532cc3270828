"""The scan: every stored weight in pieces, on two threads, into records that do not depend on who read what when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

from graphneurons.analysis import Analysis, Layer, Lookup, Modulator, WeightUse
from graphneurons.errors import UsageError
from graphneurons.graph import Filled, Op, Sparse
from graphneurons.health.duplicates import Found, duplicates_of
from graphneurons.health.fetching import Files
from graphneurons.health.modulating import modulator_health
from graphneurons.health.numbering import UnnumberedError, digits_of
from graphneurons.health.statistics import (
    Channels,
    Health,
    LayerHealth,
    ModulatorHealth,
    Skipped,
    Statistics,
    Units,
    WeightHealth,
)
from graphneurons.health.summing import Chunk, Entries, channels_of, statistics_of
from graphneurons.health.undense import counts_of, filled, sparse
from graphneurons.health.weights import Weight, check_present, limit, prepared
from graphneurons.load.dtypes import BITS, stored_bytes

THREADS = 2
_PENDING = 6
_SMALL = 1 << 15
"""Elements below which a weight is summed where it stands: handing it to a thread costs more."""

Progress = Callable[[int, int], None]
Key = tuple[object, ...]
_WIDE_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


def scan(analysis: Analysis, *, layers: Iterable[str] | None = None, progress: Progress | None = None) -> Health:
    """Statistics of every weight, per neuron and per channel, and the neurons that are copies or multiples of others.

    ``layers``: ids of the layers to scan, with the modulators aligned with them; None for everything. ``progress`` is
    called with the bytes done and the bytes to do. Reads every weight once, in pieces; memory does not grow with the
    size of the weights, only with the number of their neurons. Raises `UsageError` for a layer that does not exist and
    `DataError` where bytes cannot be read (external data that is missing).
    """
    chosen = _chosen(analysis, layers)
    names = {layer.id for layer in chosen}
    lookups = analysis.lookups if layers is None else ()
    modulators = [each for each in analysis.modulators if layers is None or each.of in names]
    for uses in (holder.weights for holders in (chosen, lookups, modulators) for holder in holders):
        for use in uses:
            check_present(use)
    with Files() as files, ThreadPoolExecutor(THREADS, "health") as pool:
        run = _Run(analysis, files, pool, progress or (lambda done, to_do: None))
        try:
            return run.health(chosen, lookups, modulators)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _chosen(analysis: Analysis, layers: Iterable[str] | None) -> list[Layer]:
    if layers is None:
        return list(analysis.layers)
    if isinstance(layers, str):
        raise UsageError(f"layers takes several ids; write [{layers!r}]")
    wanted = {analysis.layer(name).id for name in layers}
    return [layer for layer in analysis.layers if layer.id in wanted]


@dataclass(eq=False)
class _Result:
    """What is known of one weight use. ``weight`` and ``sums`` are dropped once duplicates were looked for."""

    statistics: Statistics
    channels: Channels
    units: Units
    taps: int
    weight: Weight | None = None
    sums: Entries | None = None


@dataclass(eq=False)
class _Task:
    key: Key
    weight: Weight
    whole: Chunk
    left: int


class _Target(NamedTuple):
    """A layer or a lookup, with the keys of its weights' results."""

    holder: Layer | Lookup
    keys: tuple[Key, ...]


@dataclass(eq=False)
class _Run:
    analysis: Analysis
    files: Files
    pool: ThreadPoolExecutor
    progress: Progress
    done: int = 0
    to_do: int = 0
    results: dict[Key, _Result | str] = field(default_factory=dict)
    begun: set[Key] = field(default_factory=set)
    pending: deque[tuple[_Task, Future[Chunk], int]] = field(default_factory=deque)
    waiting: deque[_Target] = field(default_factory=deque)
    layers: list[LayerHealth] = field(default_factory=list)
    lookups: list[WeightHealth] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    limited: list[str] = field(default_factory=list)
    duplicates: dict[tuple[Key, ...], list[Found]] = field(default_factory=dict)

    def health(self, layers: Sequence[Layer], lookups: Sequence[Lookup], modulators: Sequence[Modulator]) -> Health:
        ops = {op.name: op for op in self.analysis.graph.ops}
        holders: list[Layer | Lookup] = [*layers, *lookups]
        targets = [self._target(holder) for holder in holders]
        sizes = {
            key: _bytes(use)
            for target in targets
            for key, use in zip(target.keys, target.holder.weights, strict=True)
        }
        self.to_do = sum(sizes.values())
        for target in targets:
            for position, (key, use) in enumerate(zip(target.keys, target.holder.weights, strict=True)):
                if key not in self.begun:
                    self.begun.add(key)
                    self._begin(key, use, ops[target.holder.op.name], target.holder, position)
            self.waiting.append(target)
            self._finish_targets()
        while self.pending:
            self._take()
        found = tuple(self._modulators(modulators, ops))
        return Health(
            tuple(self.layers), tuple(self.lookups), found, tuple(self.skipped), self.done, tuple(self.limited)
        )

    def _target(self, holder: Layer | Lookup) -> _Target:
        table = isinstance(holder, Lookup)
        keys: list[Key] = []
        for position, use in enumerate(holder.weights):
            # What integers mean may depend on the op that reads them.
            op = "" if use.weight.dtype in _WIDE_FLOATS else holder.op.name
            groups = 1 if table else self._groups(holder.id, position, use)
            keys.append((use.weight, use.part, use.axes, groups, table, position, op))
        return _Target(holder, tuple(keys))

    def _groups(self, layer: str, position: int, use: WeightUse) -> int:
        for synapses in self.analysis.wiring.synapses.get(layer, ()):
            if synapses.weight == position:
                return synapses.groups
        return 1

    def _begin(self, key: Key, use: WeightUse, op: Op, holder: Layer | Lookup, position: int) -> None:
        groups, table = self._groups(holder.id, position, use), isinstance(holder, Lookup)
        try:
            if isinstance(use.weight.storage, (Filled, Sparse)):
                self.results[key] = _undense(use, 1 if table else groups, table, self.files)
                self._advance(_bytes(use))
                return
            weight = prepared(
                use, op, self.analysis.graph, 1 if table else groups, position, self.files, table=table
            )
        except UnnumberedError as reason:
            self.results[key] = str(reason)
            self._advance(_bytes(use))
            return
        pieces = weight.pieces()
        task = _Task(key, weight, weight.summing.whole(), len(pieces))
        if weight.numbering.elements <= _SMALL:
            for piece in pieces:
                _add(task.whole, weight.sum(*piece))
            self._finish(task)
            self._advance(_bytes(use))
            return
        share, rest = divmod(_bytes(use), len(pieces))
        for number, piece in enumerate(pieces):
            while len(self.pending) >= _PENDING:
                self._take()
            self.pending.append((task, self.pool.submit(weight.sum, *piece), share + (rest if not number else 0)))

    def _take(self) -> None:
        """Adds the oldest piece that was handed out: always in the same order, so that sums round alike."""
        task, future, size = self.pending.popleft()
        _add(task.whole, future.result())
        task.left -= 1
        self._advance(size)
        if not task.left:
            self._finish(task)
            self._finish_targets()

    def _advance(self, size: int) -> None:
        self.done += size
        self.progress(self.done, self.to_do)

    def _finish(self, task: _Task) -> None:
        numbering, weight = task.weight.numbering, task.weight
        fan_out = numbering.elements // numbering.channels if numbering.channels else 0
        self.results[task.key] = _Result(
            statistics_of(task.whole.neurons, numbering.synapses),
            channels_of(task.whole.channels, fan_out, numbering.groups),
            weight.units,
            numbering.taps,
            weight,
            task.whole.neurons,
        )

    def _finish_targets(self) -> None:
        while self.waiting and all(key in self.results for key in self.waiting[0].keys):
            target = self.waiting.popleft()
            if isinstance(target.holder, Lookup):
                self.lookups.extend(self._healths(target))
            else:
                self._finish_layer(target, target.holder)
            for key in target.keys:
                result = self.results[key]
                if isinstance(result, _Result):
                    result.weight = result.sums = None

    def _finish_layer(self, target: _Target, layer: Layer) -> None:
        found = list(self._healths(target))
        if target.keys not in self.duplicates:
            self.duplicates[target.keys] = list(self._duplicates(target, layer))
        searched = self.duplicates[target.keys]
        if any(each.is_limited for each in searched):
            self.limited.append(layer.id)
        groups = tuple(group for each in searched for group in each.groups)
        self.layers.append(LayerHealth(layer.id, layer.neurons, tuple(found), groups, len(found) == len(target.keys)))

    def _healths(self, target: _Target) -> Iterator[WeightHealth]:
        holder = target.holder
        for position, (key, use) in enumerate(zip(target.keys, holder.weights, strict=True)):
            result, ref = self.results[key], use.weight
            if isinstance(result, str):
                self.skipped.append(Skipped(holder.id, ref.name, result))
                continue
            yield WeightHealth(
                holder.id, position, ref.name, ref.dtype, result.units, result.taps, result.statistics, result.channels
            )

    def _duplicates(self, target: _Target, layer: Layer) -> Iterator[Found]:
        """Copies and multiples: of whole rows where all weights hold all neurons, else within each weight."""
        results = [self.results[key] for key in target.keys]
        known = [result for result in results if isinstance(result, _Result)]
        if len(known) == len(results) and all(result.statistics.size == layer.neurons for result in known):
            parts = [(result.weight, result.sums) for result in known if result.weight and result.sums]
            if len(parts) == len(known):
                yield duplicates_of([(weight, sums) for weight, sums in parts], None)
            else:
                yield Found((), True)
            return
        for position, result in enumerate(results):
            if isinstance(result, _Result) and result.weight and result.sums:
                yield duplicates_of([(result.weight, result.sums)], position)

    def _modulators(self, modulators: Sequence[Modulator], ops: dict[str, Op]) -> Iterator[ModulatorHealth]:
        for modulator in modulators:
            for position in range(len(modulator.weights)):
                found = modulator_health(modulator, position, ops[modulator.op.name], self.analysis.graph, self.files)
                if isinstance(found, Skipped):
                    self.skipped.append(found)
                else:
                    yield found


def _undense(use: WeightUse, groups: int, table: bool, files: Files) -> _Result:
    digits = digits_of(use, groups, table=table)
    limit(digits)
    storage = use.weight.storage
    if isinstance(storage, Filled):
        found = filled(use, storage, digits)
    else:
        assert isinstance(storage, Sparse)
        found = sparse(use, storage, digits, files)
    neurons, channels, synapses = counts_of(digits)
    fan_out = neurons * synapses // channels if channels else 0
    taps, split = (prod(digit.size for digit in digits if digit.kind == kind) for kind in ("tap", "group"))
    return _Result(statistics_of(found.neurons, synapses), channels_of(found.channels, fan_out, split), "stored", taps)


def _add(whole: Chunk, piece: Chunk) -> None:
    whole.neurons.take(piece.neurons)
    whole.channels.take(piece.channels)


def _bytes(use: WeightUse) -> int:
    if isinstance(use.weight.storage, (Filled, Sparse)):
        return 0
    return stored_bytes(use.weight.elements, BITS.get(use.weight.dtype, 8))
