"""The wiring in the JSON contract: where the synapses of every weight come from, and what meets in every junction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphneurons.wiring.records import Junction, Segment, Wiring

Sources = Mapping[int, list[dict[str, Any]]]
"""Position of a weight in its layer -> its ``sources``."""


def sources(wiring: Wiring, layer: str) -> Sources:
    """The ``sources`` of every weight of ``layer``; of several operands of one weight, one after the other."""
    return {
        synapses.weight: [segment_record(segment, "synapses") for segment in wiring.segments(synapses.neurons)]
        for synapses in wiring.synapses.get(layer, ())
    }


def junctions(wiring: Wiring) -> Iterator[dict[str, Any]]:
    """A record per junction: its members, each a list of segments that cover its indices."""
    return (junction_record(wiring, junction) for junction in wiring.junctions)


def junction_record(wiring: Wiring, junction: Junction) -> dict[str, Any]:
    return {
        "id": junction.id,
        "kind": junction.kind,
        "op": junction.op,
        "size": junction.size,
        "members": [_members(wiring.segments(member)) for member in junction.members],
    }


def _members(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    return [segment_record(segment, "index") for segment in segments]


def segment_record(segment: Segment, numbered: str) -> dict[str, Any]:
    """One segment; ``numbered`` is the key of its range: ``synapses`` of a weight, or ``index`` of a junction.

    ``neuron`` is ``[start, step, repeat]``; ``neurons`` takes its place where there is no pattern. Neither is there for
    what no neuron sends: ``constant``, ``mixed`` and ``unknown: reason``.
    """
    record: dict[str, Any] = {numbered: [segment.start, segment.stop], "from": segment.source}
    if segment.neurons is not None:
        record["neurons"] = list(segment.neurons)
    elif segment.sent:
        record["neuron"] = [segment.first, segment.step, segment.repeat]
    return record
