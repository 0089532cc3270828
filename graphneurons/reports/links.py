"""The wiring alone in JSON (docs/wiring.schema.json): of a whole model, or around one layer or neuron."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphneurons.analysis import Analysis
from graphneurons.reports.around import Around
from graphneurons.reports.json import SCHEMA_VERSION, model_record
from graphneurons.reports.sources import junctions, segment_record, sources
from graphneurons.wiring.following import Opened, Stretch
from graphneurons.wiring.records import Wiring
from graphneurons.wiring.segments import segments_at


def wiring_record(analysis: Analysis) -> dict[str, Any]:
    """Whom every layer reads, what meets in every junction, and how large everything is that sends."""
    wiring = analysis.wiring
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model_record(analysis),
        "senders": [{"name": each.name, "kind": each.kind, "size": each.size} for each in wiring.sources],
        "layers": [
            {
                "id": layer.id,
                "role": layer.role,
                "weights": [
                    {"name": use.weight.name, "input": use.input, "sources": fed.get(position, [])}
                    for position, use in enumerate(layer.weights)
                ],
            }
            for layer in analysis.layers
            for fed in [sources(wiring, layer.id)]
        ],
        "junctions": list(junctions(wiring)),
    }


def around_record(analysis: Analysis, seen: Around) -> dict[str, Any]:
    """What feeds a layer or neuron and what it feeds, as a flat list of stretches each, with their distance."""
    source = seen.source
    one = int(seen.neurons[0]) if seen.neurons.size == 1 and source.size > 1 else None
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model_record(analysis),
        "name": source.name,
        "kind": source.kind,
        "size": source.size,
        "neuron": one,
        "reads": list(_links(analysis.wiring, seen.above)),
        "feeds": list(_links(analysis.wiring, seen.below)),
    }


def _links(wiring: Wiring, opened: Sequence[Opened]) -> Iterator[dict[str, Any]]:
    for item in opened:
        for stretch in item.stretches:
            yield from _stretch(wiring, item.level + 1, stretch)


def _stretch(wiring: Wiring, level: int, stretch: Stretch) -> Iterator[dict[str, Any]]:
    port = stretch.port
    is_junction = wiring.source[port.receiver].kind == "junction"
    numbers = np.zeros(port.numbers.size, dtype=np.int64)
    numbers[stretch.positions] = stretch.numbers
    for segment in segments_at(wiring, numbers, stretch.positions):
        yield {
            "level": level,
            "to": port.receiver,
            "member" if is_junction else "weight": port.position,
            **segment_record(segment, "index" if is_junction else "synapses"),
        }
