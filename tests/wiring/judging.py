"""Holds what the wiring claims against what moved.

- A claimed neuron moves its synapse.
- Nothing else does, once softmax and the means and variances of normalisations are held still. What is only multiplied
  into it by a product of activations (a query into what attention passes on) does so with its neighbours, never alone.
- Where normalisation is left free to mix a little, a claimed neuron moves its synapse more than its neighbours do.
- A mixed synapse moves with several neurons that are not named, a constant one with none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from graphneurons import analyze
from graphneurons.analysis import Analysis
from graphneurons.axes.resolving import resolve
from tests.wiring.channels import Reading, readings, senders
from tests.wiring.claims import Claim, Claims
from tests.wiring.cutting import Floats, Laboratory, Moves, Still, chosen
from tests.wiring.flattening import Array, flat

Weight = tuple[str, int]
NOTHING = 1e-6
"""Smallest movement, per unit pushed, that counts as one."""
SLIGHT = 0.05
"""How much of a named neuron's push an unnamed one's must reach to count where means and deviations are free."""
STRONGER = 0.98
"""How much of its neighbours' strongest push a claimed neuron's must reach."""


@dataclass
class Verdict:
    """``checked``: synapses held against at least one pushed neuron; ``unknown``: those nothing is claimed of."""

    problems: list[str] = field(default_factory=list)
    checked: int = 0
    unknown: int = 0
    synapses: int = 0


def judge(path: Path | str, inputs: Sequence[Array] | Mapping[str, Array], seed: int = 0) -> Verdict:
    """Everything that is wrong with the wiring of the model at ``path``."""
    first = flat(path, analyze(path).graph, inputs)
    shapes = {name: array.shape for name, array in first.inputs.items()}
    analysis = analyze(path, shapes=shapes)
    return Judge(analysis, Path(path), first.inputs, seed).verdict()


class Judge:
    def __init__(self, analysis: Analysis, path: Path, inputs: Mapping[str, Array], seed: int = 0) -> None:
        self.analysis = analysis
        self.claims = Claims(analysis.wiring)
        resolution = resolve(analysis.graph, {name: array.shape for name, array in inputs.items()})
        self.program = flat(path, analysis.graph, inputs)
        outputs = {op.name: op.outputs for op in analysis.graph.ops}
        walls = [name for layer in analysis.layers for name in outputs[layer.op.name] if name]
        bare = Laboratory(self.program, (), ())
        values = {name: bare.true.get(self.program.names(name)[0]) for op in analysis.graph.ops for name in op.outputs}
        values.update(inputs)
        shapes = {name: value.shape for name, value in values.items() if isinstance(value, np.ndarray)}
        found = readings(analysis, resolution, shapes)
        self.readings = {(item.layer, item.weight): item for item in found}
        self.sent = tuple(senders(analysis, resolution, values))
        self.lab = Laboratory(self.program, self.sent, tuple(self.readings.values()), walls, seed)
        self.seed = seed
        self.pushed: dict[tuple[str, Still, float], dict[int, dict[Weight, Floats]]] = {}

    # ---- experiments -------------------------------------------------------------------------------------------------

    def push(self, source: str, neurons: Sequence[int], still: Still, spread: float = 0.7) -> dict[Weight, Floats]:
        """Weight -> movement (neuron, synapse). What was pushed before is remembered."""
        done = self.pushed.setdefault((source, still, spread), {})
        new = [neuron for neuron in neurons if neuron not in done]
        if new:
            found = self.lab.push(source, new, still, spread)
            for row, neuron in enumerate(new):
                done[neuron] = {weight: item.moves[row] for weight, item in found.items()}
        weights = dict.fromkeys(weight for neuron in neurons for weight in done[neuron])
        return {weight: np.stack([done[neuron][weight] for neuron in neurons]) for weight in weights}

    def moves(self, source: str, neuron: int, weight: Weight, synapse: int, still: Still = frozenset()) -> bool:
        """Whether pushing one neuron ever moves one synapse; values it may be asleep at are tried one after another."""
        for spread in (0.7, 0.0, 3.0, 0.1, 1.5, 1.0, 2.0, 0.3):
            for by in (0.5, 4.0, 0.05, 20.0):
                found = self.lab.push(source, [neuron], still, spread, by).get(weight)
                if found is not None and found.moves[0, synapse] > NOTHING:
                    return True
        return False

    # ---- verdict -----------------------------------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        self.result = Verdict()
        wiring = self.analysis.wiring
        numbers = {(layer, item.weight): item.neurons for layer, items in wiring.synapses.items() for item in items}
        self.claimed: dict[Weight, list[Claim]] = {}
        for weight, reading in self.readings.items():
            found = numbers.get(weight)
            if found is None:
                self.report(weight, "the wiring says nothing of this weight")
                continue
            if reading.own:
                self._own_state(weight, reading, found)
                continue
            if found.size != reading.count:
                self.report(
                    weight, f"the wiring numbers {found.size} synapses, the op contracts {reading.count} channels"
                )
                continue
            self.claimed[weight] = [self.claims.of(int(number)) for number in found]
        self.neurons = {
            item.source.name: chosen(item.present.tolist(), self.seed, bounds=self._bounds(item.source.size))
            for item in self.sent
        }
        self.alarms: dict[tuple[Weight, str, str], list[str]] = {}
        for claims in self.claimed.values():
            self.result.synapses += len(claims)
            self.result.unknown += sum(bool(claim.reasons) for claim in claims)
        for source in self.neurons:
            self._source(source)
        for weight, claims in self.claimed.items():
            self._mixtures(weight, claims)
        for (weight, source, what), details in self.alarms.items():
            self.report(
                weight,
                f"{what}: {source}: "
                + "; ".join(details[:4])
                + (f" ... {len(details)} in all" if len(details) > 4 else ""),
            )
        return self.result

    def report(self, weight: Weight, text: str) -> None:
        self.result.problems.append(f"{weight[0]}[{weight[1]}]: {text}")

    def alarm(self, weight: Weight, source: str, what: str, detail: str) -> None:
        self.alarms.setdefault((weight, source, what), []).append(detail)

    def _bounds(self, size: int) -> Iterator[int]:
        for parts in (2, 3):
            if size % parts == 0:
                for part in range(1, parts):
                    yield from (size // parts * part - 1, size // parts * part)

    def _own_state(self, weight: Weight, reading: Reading, numbers: np.ndarray) -> None:
        source = self.analysis.wiring.source.get(weight[0])
        assert source is not None
        units = np.arange(source.size) + source.base
        if numbers.size != source.size or not np.array_equal(numbers, units):
            self.report(
                weight, f"recurrent synapses read {numbers[:8]}..., not the op's own {source.size} units in order"
            )

    def _source(self, source: str) -> None:
        """Everything about what one source's neurons move."""
        neurons = self.neurons[source]
        free = self.push(source, neurons, frozenset())
        gentle = self.push(source, neurons, self.lab.softmaxes)
        strict = self.push(source, neurons, self.lab.softmaxes | self.lab.statistics)
        row = {neuron: at for at, neuron in enumerate(neurons)}
        for weight, claims in self.claimed.items():
            count = len(claims)
            nothing = np.zeros((len(neurons), count))
            moved, softly, held = (item.get(weight, nothing) for item in (free, gentle, strict))
            named = np.zeros((len(neurons), count), dtype=bool)
            for synapse, claim in enumerate(claims):
                for name, neuron in claim.neurons:
                    if name == source and neuron in row:
                        named[row[neuron], synapse] = True
            for at, synapse in np.argwhere(named & (moved <= NOTHING)):
                if not self.moves(source, neurons[at], weight, int(synapse)):
                    self.alarm(weight, source, "false source", f"neuron {neurons[at]} does not move synapse {synapse}")
            shut = np.array([not claim.is_open for claim in claims])
            for at, synapse in np.argwhere(~named & (held > NOTHING) & shut):
                self._unnamed(source, neurons, at, weight, int(synapse), claims[synapse], held)
            others = np.where(named, 0.0, moved)
            usual = np.where(named, moved, 0.0).max(axis=0)
            others = np.where(others > usual * SLIGHT, others, 0.0)
            alone = ((others > NOTHING).sum(axis=0) == 1) & ((held <= NOTHING) | named).all(axis=0) & shut
            alone &= not self.lab.rounds
            for synapse in np.flatnonzero(alone):
                at = int(others[:, synapse].argmax())
                if not self._company(source, neurons[at], weight, int(synapse), moved[at, synapse], frozenset()):
                    detail = (
                        f"neuron {neurons[at]} alone moves synapse {synapse}, which names {_short(claims[synapse])}"
                    )
                    self.alarm(weight, source, "missing source", detail)
            self._dominance(source, neurons, weight, claims, named, softly)

    def _unnamed(
        self, source: str, neurons: Sequence[int], at: int, weight: Weight, synapse: int, claim: Claim, held: Floats
    ) -> None:
        """A neuron moved a synapse that does not name it."""
        neuron = neurons[at]
        if claim.neurons:
            strength = held[at, synapse]
            for side in (0, 1):
                still = (
                    self.lab.softmaxes
                    | self.lab.statistics
                    | frozenset((node.output[0], side) for node in self.lab.bilinear())
                )
                found = self.push(source, neurons, still).get(weight)
                if found is None or found[at, synapse] <= NOTHING:
                    others = np.flatnonzero(held[:, synapse] > strength * 1e-3)
                    still = self.lab.softmaxes | self.lab.statistics
                    if others.size > 1 or self._company(source, neuron, weight, synapse, strength, still):
                        return
        self.alarm(
            weight, source, "missing source", f"neuron {neuron} moves synapse {synapse}, which names {_short(claim)}"
        )

    def _company(self, source: str, neuron: int, weight: Weight, synapse: int, strength: float, still: Still) -> bool:
        """Whether neighbours of ``neuron`` that were not pushed yet move ``synapse`` too."""
        size = self.lab.sent[source].source.size
        near = [n for n in (neuron - 1, neuron + 1, neuron - 2, neuron + 2) if 0 <= n < size]
        found = self.push(source, near, still).get(weight) if near else None
        return found is not None and bool((found[:, synapse] > strength * 1e-3).any())

    def _dominance(
        self,
        source: str,
        neurons: Sequence[int],
        weight: Weight,
        claims: Sequence[Claim],
        named: np.ndarray,
        moved: Floats,
    ) -> None:
        for synapse, claim in enumerate(claims):
            if not claim.direct or not named[:, synapse].any():
                continue
            at = int(np.flatnonzero(named[:, synapse])[0])
            others = np.delete(moved[:, synapse], at)
            if others.size and moved[at, synapse] > NOTHING and others.max() * STRONGER > moved[at, synapse]:
                worst = [n for n in neurons if n != neurons[at]][int(others.argmax())]
                detail = f"neuron {worst} moves synapse {synapse} more than neuron {neurons[at]}, which it names"
                self.alarm(weight, source, "not dominant", f"{detail} ({others.max():.3g} > {moved[at, synapse]:.3g})")

    def _mixtures(self, weight: Weight, claims: Sequence[Claim]) -> None:
        """Synapses that are said to be mixed. A few may be end cases: the first of a running sum is no sum."""
        self.result.checked += sum(not claim.reasons for claim in claims)
        mixed = [synapse for synapse, claim in enumerate(claims) if claim.mixed and not claim.reasons]
        movers = {}
        for synapse in mixed:
            held = self._movers(weight, synapse, claims[synapse], self.lab.softmaxes | self.lab.statistics)
            alone = held == 1 and not claims[synapse].neurons
            movers[synapse] = 1 if alone else self._movers(weight, synapse, claims[synapse], frozenset())
        few = [synapse for synapse in mixed if movers[synapse] < 2]
        if 2 * len(few) > len(mixed):
            for synapse in few:
                self.alarm(weight, "mixed", "not mixed", f"{movers[synapse]} unnamed neurons move synapse {synapse}")

    def _movers(self, weight: Weight, synapse: int, claim: Claim, still: Still) -> int:
        """How many neurons move a synapse that does not name them."""
        count = 0
        for source, neurons in self.neurons.items():
            found = self.push(source, neurons, still).get(weight)
            if found is None:
                continue
            names = {neuron for name, neuron in claim.neurons if name == source}
            count += sum(found[at, synapse] > NOTHING for at, neuron in enumerate(neurons) if neuron not in names)
        return int(count)


def _short(claim: Claim) -> str:
    if not claim.neurons:
        return "constant" if claim.constant else "nobody"
    return ", ".join(f"{name}:{neuron}" for name, neuron in sorted(claim.neurons)[:4])


__all__ = ["Judge", "Moves", "Verdict", "judge"]
