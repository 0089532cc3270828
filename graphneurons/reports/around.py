"""The wiring around one layer or neuron for people: two trees, what it reads and what it feeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphneurons.analysis import Analysis, Layer
from graphneurons.reports.lines import Glyphs, Line, line
from graphneurons.reports.names import fold, shown, wrap
from graphneurons.reports.runs import compact, is_whole
from graphneurons.reports.shapes import marked
from graphneurons.reports.tables import MARGIN
from graphneurons.reports.text import View, role_text, title, weight_name
from graphneurons.reports.trees import Twig, drawn
from graphneurons.reports.wiring import named
from graphneurons.wiring.following import Opened, Stretch, downstream, upstream
from graphneurons.wiring.records import CONSTANT, MIXED, Integers, Source, Wiring
from graphneurons.wiring.segments import owners_of
from graphneurons.wiring.tracing import Port, ports, readers

_MOST_BRIEF = 4
_INDEX = {"layer": "neuron", "input": "channel", "lookup": "entry", "junction": "index"}


@dataclass(frozen=True, slots=True)
class Around:
    """A source and which of its neurons are meant, with what was found ``up`` and ``down`` from there."""

    source: Source
    neurons: Integers
    above: tuple[Opened, ...]
    below: tuple[Opened, ...]
    among: Mapping[str, Sequence[Port]]


def look_around(wiring: Wiring, source: Source, neuron: int | None, up: int, down: int) -> Around:
    """The wiring ``up`` steps back and ``down`` steps on from neuron ``neuron`` of ``source``, or from all of them."""
    neurons = np.arange(source.size) if neuron is None else np.array([neuron])
    among = readers(wiring)
    above = upstream(wiring, source.name, neurons, up)
    below = downstream(wiring, source.name, neurons, down, among)
    return Around(source, neurons, tuple(above), tuple(below), among)


def around(analysis: Analysis, seen: Around, view: View = View()) -> Iterator[Line]:  # noqa: B008
    """Who or what it is, then both trees."""
    yield from title(analysis, view)
    yield ()
    yield from _heading(analysis, seen, view)
    drawing = _Drawing(analysis, seen, view.glyphs)
    width = view.width
    for label, opened, levels in (("reads", seen.above, True), ("feeds", seen.below, False)):
        if not opened:
            continue
        yield ()
        yield line(MARGIN, (label, "strong"))
        twigs = drawing.tree(opened, up=levels)
        if twigs:
            yield from drawn(twigs, width, view.glyphs)
            continue
        for piece in wrap(_nothing(seen.source, levels), None if width is None else width - 4):
            yield line(MARGIN * 2, (piece, "quiet"))


def _nothing(source: Source, up: bool) -> str:
    if not up:
        return "nothing reads it neuron by neuron: it is what the model puts out, is mixed with others, or is not used"
    return (
        "nothing: it is where signals come from" if source.kind in ("input", "lookup") else "nothing that was followed"
    )


def _heading(analysis: Analysis, seen: Around, view: View) -> Iterator[Line]:
    source = seen.source
    room = None if view.width is None else view.width - len(MARGIN)
    name = shown(source.name)
    if seen.neurons.size == 1 and source.size > 1:
        name = f"{name}, {_INDEX[source.kind]} {int(seen.neurons[0])} of {source.size:,}"
    for piece in [name] if room is None else fold(name, room):
        yield line(MARGIN, (piece, "heading"))
    for piece in wrap(f" {view.glyphs.dot} ".join(_about(analysis, source)), room):
        yield line(MARGIN, (piece, "quiet"))


def _about(analysis: Analysis, source: Source) -> Iterator[str]:
    if source.kind == "junction":
        junction = analysis.wiring.junction[source.id]
        yield f"{junction.kind} of {len(junction.members)} members"
        yield f"{source.size:,} indices"
    elif source.kind == "layer":
        layer = analysis.layer(source.id)
        units = f" ({layer.units:,} units)" if layer.units is not None else ""
        yield from filter(None, (shown(layer.op.type, 40), role_text(layer), shown(layer.activation or "", 40)))
        yield f"{layer.neurons:,} neurons{units} of {layer.synapses_per_neuron:,} synapses"
        if layer.tied_to is not None:
            yield f"weights of {shown(layer.tied_to)}"
    else:
        yield {"input": "input of the model", "lookup": "lookup"}[source.kind]
        yield f"{source.size:,} " + {"input": "channels", "lookup": "entries a row"}[source.kind]


@dataclass(frozen=True, slots=True)
class _Drawing:
    analysis: Analysis
    seen: Around
    glyphs: Glyphs

    def tree(self, opened: Sequence[Opened], *, up: bool) -> list[Twig]:
        """Every opened source hangs below the line that names it first; elsewhere that line says so."""
        root = Twig(())
        places: dict[tuple[int, str], Twig] = {(0, opened[0].name): root}
        known = {(item.level, item.name) for item in opened}
        names = {item.name for item in opened if item.stretches}
        for item in opened:
            place = places[item.level, item.name]
            port_twig: tuple[Port, Twig] | None = None
            for stretch in item.stretches:
                holder = place
                if up and self._is_layer(item.name):
                    if port_twig is None or port_twig[0] is not stretch.port:
                        port_twig = (stretch.port, Twig(self._weight(stretch.port)))
                        place.twigs.append(port_twig[1])
                    holder = port_twig[1]
                other = self._sender(stretch) if up else stretch.port.receiver
                twig = Twig(self._up(stretch, other) if up else self._down(item, stretch))
                holder.twigs.append(twig)
                key = (item.level + 1, other)
                if key in known and key not in places:
                    places[key] = twig
                elif other in names:
                    twig.text = (*twig.text, ("  shown elsewhere", "quiet"))
                else:
                    twig.text = (*twig.text, *self._brief(other, up))
        return root.twigs

    def _is_layer(self, name: str) -> bool:
        return self.analysis.wiring.source[name].kind == "layer"

    def _sender(self, stretch: Stretch) -> str:
        return self.analysis.wiring.describe(int(stretch.numbers[0]))[0]

    def _weight(self, port: Port) -> Line:
        layer: Layer = self.analysis.layer(port.receiver)
        use = layer.weights[port.position]
        groups = f"  {port.groups:,} groups" if port.groups > 1 else ""
        return line(f"{weight_name(use, layer.id)} ", *marked(use, self.glyphs), (groups, "quiet"))

    def _up(self, stretch: Stretch, other: str) -> Line:
        wiring = self.analysis.wiring
        whole = is_whole(stretch.positions, stretch.port.numbers.size)
        where = "" if whole else f"{compact(stretch.positions, self.glyphs)} {self.glyphs.arrow} "
        first = int(stretch.numbers[0])
        if first < 0:
            return line((where, "synapse"), (shown(other, 500), "quiet" if first in (CONSTANT, MIXED) else "bad"))
        source = wiring.source[other]
        return line((where, "synapse"), *named(source, stretch.numbers - source.base, self.glyphs), *self._kind(source))

    def _down(self, item: Opened, stretch: Stretch) -> Line:
        wiring = self.analysis.wiring
        receiver, sender = wiring.source[stretch.port.receiver], wiring.source[item.name]
        weight = ""
        if receiver.kind == "layer":
            layer = self.analysis.layer(receiver.id)
            if len(layer.weights) > 1:
                weight = f" {weight_name(layer.weights[stretch.port.position], layer.id)}"
        whole = is_whole(stretch.positions, stretch.port.numbers.size)
        where = "" if whole else f"[{compact(stretch.positions, self.glyphs)}]"
        own = stretch.numbers - sender.base
        from_all = own.size == sender.size and is_whole(own, sender.size)
        from_ = "" if from_all or item.neurons.size == 1 else f" {self.glyphs.arrow} {compact(own, self.glyphs)}"
        return line(f"{shown(receiver.name)}{weight}", (where, "synapse"), (from_, "neuron"), *self._kind(receiver))

    def _kind(self, source: Source) -> Line:
        if source.kind == "junction":
            return line((f"  {self.analysis.wiring.junction[source.id].kind}", "quiet"))
        if source.kind == "layer":
            layer = self.analysis.layer(source.id)
            facts = ", ".join(filter(None, (role_text(layer), shown(layer.activation or "", 40))))
            return line((f"  {facts}" if facts else "", "quiet"))
        return ()

    def _brief(self, name: str, up: bool) -> Line:
        """What is behind a junction at the edge of the tree."""
        wiring = self.analysis.wiring
        source = wiring.source.get(name)
        if source is None or source.kind != "junction":
            return ()
        if up:
            found = [self._sender_names(port) for port in ports(wiring, source)]
            names = [name for members in found for name in members]
        else:
            names = list(dict.fromkeys(port.receiver for port in self.seen.among.get(name, ())))
        few = [shown(name, 80) for name in names[:_MOST_BRIEF]]
        if len(names) > _MOST_BRIEF:
            few.append(f"{self.glyphs.ellipsis} {len(names) - _MOST_BRIEF:,} more")
        if not few:
            return ()
        return line((f" of {', '.join(few)}" if up else f", read by {', '.join(few)}", "quiet"))

    def _sender_names(self, port: Port) -> list[str]:
        wiring = self.analysis.wiring
        owners, first = np.unique(owners_of(wiring, port.numbers), return_index=True)
        ordered = owners[np.argsort(first, kind="stable")].tolist()
        return [wiring.sources[owner].name if owner >= 0 else wiring.describe(owner)[0] for owner in ordered]
