"""What enters each synapse, in names short enough for a circle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.views.blocks import Integers
from graphneurons.views.dot import named
from graphneurons.views.values import Values
from graphneurons.wiring.records import MIXED

KINDS = {"layer": "layer", "input": "input", "lookup": "embedding", "junction": "junction"}
_LETTERS = {"input": "x", "layer": "n", "junction": "r", "lookup": "e"}
_SPARE = "uvwpqabcdfgjlmostyz"


def numbers_of(analysis: Analysis, values: Values, neuron: int) -> Integers:
    """The global number of what every synapse of ``neuron`` reads (`graphneurons.wiring.records`), one per synapse;
    `MIXED` where the wiring says nothing."""
    layer = values.layer
    found = np.full(values.synapses, MIXED, np.int64)
    for synapses in analysis.wiring.synapses.get(layer.id, ()):
        if synapses.weight >= len(values.laid):
            continue
        channels = synapses.channels_of(neuron, layer.neurons)
        start, count = values.offsets[synapses.weight], values.laid[synapses.weight].synapses
        if channels.size and count % channels.size == 0:
            found[start : start + count] = np.repeat(channels, count // channels.size)
    return found


@dataclass(frozen=True, slots=True)
class Sender:
    """One synapse's other end: ``text`` for a circle, ``says`` in full; ``source`` as the wiring writes it."""

    text: str
    says: str
    source: str
    index: int
    number: int


@dataclass(frozen=True)
class Senders:
    """Sources in order of appearance with the letter that stands for each."""

    letters: Mapping[str, str]

    def sender(self, analysis: Analysis, number: int) -> Sender:
        source, index = analysis.wiring.describe(number)
        letter = self.letters.get(source, "?")
        text = f"{letter}{index}" if number >= 0 else {"constant": "const", "mixed": "mixed"}.get(source, "?")
        return Sender(text, f"{named(source)} {index}" if number >= 0 else named(source, 80), source, index, number)

    def legend(self, analysis: Analysis) -> list[str]:
        """One line per source: what its letter stands for."""
        lines = []
        for source, letter in self.letters.items():
            known = analysis.wiring.source.get(source)
            if known is not None:
                lines.append(f"{letter} = {KINDS[known.kind]} {named(known.id)} ({known.size:,})")
        return lines


def senders(analysis: Analysis, numbers: Iterable[Integers], reader: Layer | None = None) -> Senders:
    """Letters for all sources of ``numbers``: x for inputs, k for the key neurons of an MLP, h for a layer's own state,
    p for other layers, r for junctions (residual streams), e for embeddings; further ones as they come."""
    letters: dict[str, str] = {}
    spare = iter(_SPARE)
    for group in numbers:
        for source in sources_in(analysis, group):
            if source in letters:
                continue
            known = analysis.wiring.source[source]
            letter = _LETTERS[known.kind]
            if known.kind == "layer":
                letter = "h" if reader is not None and reader.id == source else own_letter(analysis, source)
                letter = "p" if letter == "n" else letter
            if known.kind == "input" and len(known.id) == 1 and known.id.isalpha() and known.id.isascii():
                letter = known.id
            if letter in letters.values():
                letter = next((one for one in spare if one not in letters.values()), f"{letter}'")
            letters[source] = letter
    return Senders(letters)


def own_letter(analysis: Analysis, layer: str, taken: Iterable[str] = ()) -> str:
    """k for key neurons of an MLP, q, k, v for attention's, n for all others, or another letter where that is taken."""
    role = analysis.layer(layer).role or ""
    letter = {"mlp_key": "k", "mlp_gate": "g", "query": "q", "key": "k", "value": "v"}.get(role, "n")
    used = set(taken)
    return next((one for one in (letter, "n", *"mabcd") if one not in used), letter)


def sources_in(analysis: Analysis, numbers: Integers) -> list[str]:
    """Names of the sources in ``numbers``, in order of first appearance."""
    known = numbers[numbers >= 0]
    if not known.size:
        return []
    bases = np.array([source.base for source in analysis.wiring.sources], np.int64)
    owners, first = np.unique(np.searchsorted(bases, known, side="right") - 1, return_index=True)
    return [analysis.wiring.sources[int(owners[at])].name for at in np.argsort(first, kind="stable")]


def tap_names(taps: Sequence[int]) -> list[str]:
    """``[0,0]``, ``[0,1]``, ...: one per kernel tap, or nothing where there is one or none.

    >>> tap_names((1, 2))
    ['[0,0]', '[0,1]']
    """
    if all(size == 1 for size in taps):
        return [""]
    return ["[" + ",".join(map(str, place)) + "]" for place in np.ndindex(*taps)]
