"""The wiring for people: every layer with whom it reads, and what meets in every junction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.reports.lines import Glyphs, Line, line
from graphneurons.reports.names import fold, shown
from graphneurons.reports.runs import compact, is_whole
from graphneurons.reports.tables import MARGIN, Cell, Column, Row, table
from graphneurons.reports.text import View, role_text, title, weight_name
from graphneurons.reports.totals import fact, percent, plural
from graphneurons.wiring.records import CONSTANT, MIXED, Integers, Junction, Source, Synapses, Wiring
from graphneurons.wiring.segments import owners_of

MOST_ROWS = 10_000
_MOST_SENDERS = 8


def overview(analysis: Analysis, view: View = View()) -> Iterator[Line]:  # noqa: B008
    """All layers, junctions, inputs and lookups, and how much of the wiring could be told."""
    yield from title(analysis, view)
    wiring = analysis.wiring
    if analysis.layers:
        yield ()
        rows = [row for layer in analysis.layers[:MOST_ROWS] for row in _layer(layer, wiring, view.glyphs)]
        columns: tuple[Column, ...] = (
            Column("layer", least=16),
            Column("role", least=9),
            Column("neurons", right=True),
            Column("weight", least=12),
            Column("channels", right=True),
            Column("read", least=20),
        )
        yield from _fitting(columns, rows, view, (1, 2))
        yield from _cut(len(analysis.layers), "layers", view)
    if wiring.junctions:
        yield ()
        rows = [_junction(junction, wiring, view.glyphs) for junction in wiring.junctions[:MOST_ROWS]]
        columns = (Column("junction", least=16), Column("of"), Column("size", right=True), Column("members", least=20))
        yield from _fitting(columns, rows, view, (1,))
        yield from _cut(len(wiring.junctions), "junctions", view)
    yield ()
    yield from _facts(wiring, view)


def _cut(count: int, noun: str, view: View) -> Iterator[Line]:
    if count > MOST_ROWS:
        more = f"{view.glyphs.ellipsis} {count - MOST_ROWS:,} more {noun} (--json lists them all)"
        yield line(MARGIN, (more, "quiet"))


def _layer(layer: Layer, wiring: Wiring, glyphs: Glyphs) -> Iterator[Row]:
    """A row for each weight; what is known of the layer stands in the first."""
    read: dict[int, list[Synapses]] = {}
    for synapses in wiring.synapses.get(layer.id, ()):
        read.setdefault(synapses.weight, []).append(synapses)
    style = "" if layer.tied_to is None else "quiet"
    name = (line(shown(layer.id)), *([line((f"= {shown(layer.tied_to)}", "quiet"))] if layer.tied_to else []))
    own: tuple[Cell, ...] = (name, (line((role_text(layer), "quiet")),), (line(f"{neurons_of(layer, wiring):,}"),))
    for position, use in enumerate(layer.weights):
        numbers = [synapses.neurons for synapses in read.get(position, ())]
        channels = f"{sum(part.size for part in numbers):,}" if numbers else ""
        cell = tuple(spans for part in numbers for spans in senders(wiring, part, glyphs))
        yield Row((*own, (line(weight_name(use, layer.id)),), (line(channels),), cell), style)
        own = ((), (), ())


def neurons_of(layer: Layer, wiring: Wiring) -> int:
    """How many indices of ``layer`` others read: its neurons, or, of a recurrent layer, its units."""
    source = wiring.source.get(layer.id)
    return layer.neurons if source is None else source.size


def _junction(junction: Junction, wiring: Wiring, glyphs: Glyphs) -> Row:
    cell = tuple(spans for member in junction.members for spans in senders(wiring, member, glyphs))
    return Row(((line(shown(junction.id)),), (line((junction.kind, "quiet")),), (line(f"{junction.size:,}"),), cell))


def senders(wiring: Wiring, numbers: Integers, glyphs: Glyphs, most: int = _MOST_SENDERS) -> list[Line]:
    """One line per sender of ``numbers``: which of them it feeds (if not all), its name, and with which neurons (if not
    with all, in order)."""
    owners = owners_of(wiring, numbers)
    every, first = np.unique(owners, return_index=True)
    found = []
    for owner in every[np.argsort(first, kind="stable")].tolist()[:most]:
        positions = np.flatnonzero(owners == owner)
        where = "" if positions.size == numbers.size else f"{compact(positions, glyphs)} "
        if owner < 0:
            found.append(line((where, "quiet"), (shown(wiring.describe(owner)[0], 500), _style(owner))))
            continue
        source = wiring.sources[owner]
        found.append(line((where, "quiet"), *named(source, numbers[positions] - source.base, glyphs)))
    if every.size > most:
        found.append(line((f"{glyphs.ellipsis} {every.size - most:,} more", "quiet")))
    return found


def named(source: Source, neurons: Integers, glyphs: Glyphs) -> Line:
    """A source by its name, with the neurons meant where they are not all of them in order."""
    part = "" if is_whole(neurons, source.size) else f"[{compact(neurons, glyphs)}]"
    return line(shown(source.name), (part, "neuron"))


def _style(owner: int) -> str:
    return "quiet" if owner in (CONSTANT, MIXED) else "bad"


def _fitting(columns: Sequence[Column], rows: Sequence[Row], view: View, spare: tuple[int, ...]) -> Iterator[Line]:
    """A table; where that is too wide, one without the columns ``spare``; else everything below each other."""
    kept = [number for number in range(len(columns)) if number not in spare]
    fewer = [Row(tuple(row.cells[number] for number in kept), row.style) for row in rows]
    laid = table(columns, rows, view.width) or table([columns[number] for number in kept], fewer, view.width)
    if laid is not None:
        yield from laid
        return
    room = (view.width or 80) - len(MARGIN) * 3
    for row in fewer:
        first, *facts, last = row.cells
        for part in first:
            for piece in fold("".join(text for text, _ in part), room):
                yield line(MARGIN, (piece, "heading"))
        said = " ".join(text for cell in facts for part in cell for text, _ in part)
        for piece in fold(said, room) if said else ():
            yield line(MARGIN * 2, (piece, "quiet"))
        for part in last:
            for piece in fold("".join(text for text, _ in part), room):
                yield line(MARGIN * 3, piece)


def _facts(wiring: Wiring, view: View) -> Iterator[Line]:
    """Inputs, lookups, and what share of all synapse channels reads a neuron that is known."""
    glyphs = view.glyphs
    for label, kind in (("inputs", "input"), ("lookups", "lookup")):
        found = [source for source in wiring.sources if source.kind == kind]
        few = [f"{shown(source.id, 80)} ({source.size:,})" for source in islice(found, _MOST_SENDERS)]
        if len(found) > _MOST_SENDERS:
            few.append(f"{glyphs.ellipsis} {len(found) - _MOST_SENDERS:,} more")
        if found:
            yield from fact(label, f" {glyphs.dot} ".join(few), view.width)
    counts: Counter[int] = Counter()
    for weights in wiring.synapses.values():
        for synapses in weights:
            numbers = synapses.neurons
            nobody, many = np.unique(numbers[numbers < 0], return_counts=True)
            counts.update(dict(zip(nobody.tolist(), many.tolist(), strict=True)))
            counts[0] += numbers.size
    total = counts.pop(0, 0)
    lost = sum(count for number, count in counts.items() if number not in (CONSTANT, MIXED))
    yield from fact("traced", f"{percent(total - lost, total)} of {plural(total, 'synapse channel')}", view.width)
    for label, number in (("mixed", MIXED), ("constant", CONSTANT)):
        if counts[number]:
            yield from fact(label, plural(counts[number], "channel"), view.width)
    for number, count in sorted(counts.items(), key=lambda item: (-item[1], -item[0])):
        if number not in (CONSTANT, MIXED):
            reason = shown(wiring.describe(number)[0].partition(": ")[2], 500)
            yield from fact("unknown", f"{plural(count, 'channel')}: {reason}", view.width)
