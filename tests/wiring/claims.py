"""What the wiring claims of a synapse, with junctions opened until only neurons are left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphneurons.wiring.records import CONSTANT, MIXED, Wiring

Neuron = tuple[str, int]


@dataclass(frozen=True)
class Claim:
    """``neurons``: every (source, index) said to reach it; ``direct``: it is one neuron and no junction; ``mixed`` and
    ``constant``: such a member is among them; ``reasons``: of what is unknown."""

    neurons: frozenset[Neuron] = frozenset()
    direct: bool = False
    mixed: bool = False
    constant: bool = False
    reasons: frozenset[str] = frozenset()

    @property
    def is_open(self) -> bool:
        """Whether more than it names may reach it."""
        return self.mixed or bool(self.reasons)


class Claims:
    """The claims of one wiring, each number opened once."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.known: dict[int, Claim] = {}

    def of(self, number: int) -> Claim:
        """The claim of a global number; junctions that hold each other (a loop) are opened once."""
        if number not in self.known:
            self.known[number] = self._opened(int(number))
        return self.known[number]

    def _opened(self, number: int) -> Claim:
        neurons: set[Neuron] = set()
        reasons: set[str] = set()
        mixed = constant = junction = False
        waiting, seen = [number], {number}
        while waiting:
            current = waiting.pop()
            if current == CONSTANT:
                constant = True
            elif current == MIXED:
                mixed = True
            elif current < 0:
                reasons.add(self.wiring.describe(current)[0])
            else:
                source, index = self.wiring.locate(current)
                if source.kind != "junction":
                    neurons.add((source.name, index))
                    continue
                junction = True
                for member in self.wiring.junction[source.id].members:
                    if int(member[index]) not in seen:
                        seen.add(int(member[index]))
                        waiting.append(int(member[index]))
        return Claim(frozenset(neurons), not junction and bool(neurons), mixed, constant, frozenset(reasons))


def resolved(wiring: Wiring) -> Mapping[str, tuple[int, int]]:
    """Layer -> (synapse channels whose every source is named or ruled out, all of them)."""
    claims = Claims(wiring)
    return {
        layer: (
            sum(not claims.of(int(number)).reasons for item in weights for number in item.neurons),
            sum(item.neurons.size for item in weights),
        )
        for layer, weights in wiring.synapses.items()
    }
