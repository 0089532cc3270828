"""What a health scan found, for people and for programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.analysis import Analysis
from graphneurons.health.statistics import Channels, Duplicates, Health, LayerHealth, Statistics, WeightHealth
from graphneurons.reports.json import SCHEMA_VERSION
from graphneurons.reports.lines import Line, line
from graphneurons.reports.names import shown, wrap
from graphneurons.reports.tables import MARGIN, Cell, Column, Row, table
from graphneurons.reports.text import View, title
from graphneurons.reports.totals import plural

MOST_LISTED = 20
_RANKED = 20


def overview(analysis: Analysis, health: Health, view: View) -> Iterator[Line]:
    """Every layer on a line, those with something odd first where ``view.top`` cuts the list."""
    yield from title(analysis, view)
    yield ()
    layers = _chosen(health.layers, view.top)
    left = len(health.layers) - len(layers)
    rows = [_row(layer) for layer in layers]
    if left:
        rows.append(Row(((line(f"{plural(left, 'other layer')}"),), *((),) * (len(_COLUMNS) - 1)), "quiet"))
    yield from table(_COLUMNS, rows, view.width) or _narrow(layers, view)
    if rows:
        yield ()
    yield from _notes(health, view)


_COLUMNS = (
    Column("layer", least=12),
    Column("neurons", right=True),
    Column("dead", right=True),
    Column("NaN/Inf", right=True),
    Column("constant", right=True),
    Column("copies", right=True),
    Column("silent inputs", right=True),
    Column("zero", right=True),
    Column("subnormal", right=True),
    Column("excitatory", right=True),
    Column("largest", right=True),
    Column("L2 median", right=True),
    Column("L2 max", right=True),
)


def _row(layer: LayerHealth) -> Row:
    facts = _facts(layer)
    odd = any(facts[name] for name in ("dead", "broken", "constant", "duplicated"))
    cells: list[Cell] = [(line(shown(layer.id)),), _cell(f"{facts['neurons']:,}")]
    for name in ("dead", "broken", "constant", "duplicated", "silent"):
        count = facts[name]
        cells.append((line((f"{count:,}", "bad")),) if count else ())
    cells += [_cell(_percent(facts[name])) for name in ("zero", "subnormal", "excitatory")]
    cells += [_cell(_number(facts[name])) for name in ("largest", "median", "longest")]
    return Row(tuple(cells), "strong" if odd else "")


def _cell(text: str) -> Cell:
    return (line(text),) if text else ()


def _facts(layer: LayerHealth) -> dict[str, Any]:
    """The numbers of one line. Where the weights of a layer hold different neurons they are taken one after another."""
    whole = layer.neurons
    parts = [whole] if whole is not None else [weight.neurons for weight in layer.weights]
    elements = sum(part.size * part.elements for part in parts)
    signed = sum(_sum(part.positive) + _sum(part.negative) for part in parts)
    norms = np.concatenate([part.l2 for part in parts]) if parts else np.zeros(0)
    norms = norms[np.isfinite(norms)]
    sizes = [float(np.nanmax(part.max_abs)) for part in parts if np.isfinite(part.max_abs).any()]
    return {
        "neurons": layer.size,
        "dead": sum(_sum(part.dead) for part in parts),
        "broken": sum(_sum(part.broken) for part in parts),
        "constant": sum(_sum(part.constant) for part in parts),
        "duplicated": sum(group.neurons.size - 1 for group in layer.duplicates),
        "silent": sum(_sum(weight.channels.silent) for weight in layer.weights),
        "zero": sum(_sum(part.zeros) for part in parts) / elements if elements else 0.0,
        "subnormal": sum(_sum(part.subnormals) for part in parts) / elements if elements else 0.0,
        "excitatory": sum(_sum(part.positive) for part in parts) / signed if signed else float("nan"),
        "largest": max(sizes, default=float("nan")),
        "median": float(np.median(norms)) if norms.size else float("nan"),
        "longest": float(norms.max()) if norms.size else float("nan"),
    }


def _sum(counts: npt.NDArray[Any]) -> int:
    return int(counts.sum(dtype=np.int64))


def _chosen(layers: Sequence[LayerHealth], top: int | None) -> list[LayerHealth]:
    """The ``top`` layers with most that is odd, in the model's order."""
    if top is None or top >= len(layers):
        return list(layers)

    def oddity(at: int) -> tuple[int, float]:
        facts = _facts(layers[at])
        odd = facts["broken"] + facts["dead"] + facts["constant"] + facts["duplicated"] + facts["silent"]
        return -odd, -facts["zero"]

    return [layers[at] for at in sorted(sorted(range(len(layers)), key=oddity)[:top])]


def _stacked(columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[Line]:
    """Where a table does not fit: a line per cell."""
    for row in rows:
        for number, (column, cell) in enumerate(zip(columns, row.cells, strict=True)):
            if cell:
                yield line(MARGIN * 2 if number else MARGIN, (f"{column.heading} ", "quiet"), *cell[0])


def _narrow(layers: Sequence[LayerHealth], view: View) -> Iterator[Line]:
    for layer in layers:
        yield line(MARGIN, (shown(layer.id), "heading"))
        for column, cell in zip(_COLUMNS[1:], _row(layer).cells[1:], strict=True):
            if cell:
                yield line(MARGIN * 2, (f"{column.heading} ", "quiet"), *cell[0])


def _notes(health: Health, view: View) -> Iterator[Line]:
    """What the table does not show: modulators with NaN, infinities or zeros, and what was not scanned."""
    width = None if view.width is None else view.width - len(MARGIN)
    notes = [
        f"{_where(each.modulator, each.kind)} {shown(each.name)}: "
        + ", ".join(
            f"{count:,} {word}"
            for count, word in ((each.nan_count, "NaN"), (each.inf_count, "infinite"), (zeros, "zero"))
            if count
        )
        for each in health.modulators
        for zeros in [each.zero_count if each.kind in ("normalisation",) else 0]
        if each.nan_count or each.inf_count or zeros
    ]
    notes += [f"not scanned: {shown(each.where)} {shown(each.name)}: {shown(each.reason)}" for each in health.skipped]
    notes += [f"not all copies were looked for in {shown(name)}" for name in health.duplicates_limited]
    for note in notes:
        for piece in wrap(note, width):
            yield line(MARGIN, (piece, "bad"))
    neurons = sum(_facts(layer)["neurons"] for layer in health.layers)
    found = (
        f"{plural(len(health.layers), 'layer')}, {plural(neurons, 'neuron')}, {health.bytes_read:,} bytes of weights"
    )
    for piece in wrap(found, width):
        yield line(MARGIN, (piece, "quiet"))


def _where(modulator: str, kind: str) -> str:
    return f"{kind} {shown(modulator)}"


def one_layer(analysis: Analysis, health: Health, view: View) -> Iterator[Line]:
    """The neurons of one layer with the largest L2 norms, and all that is odd in it."""
    yield from title(analysis, view)
    layer = health.layers[0]
    yield ()
    facts = _facts(layer)
    yield line((shown(layer.id), "heading"), f"  {plural(facts['neurons'], 'neuron')}")
    for weight in layer.weights:
        yield line(MARGIN, shown(weight.name), (f"  {weight.dtype}, {_UNITS[weight.units]}", "quiet"))
        yield line(MARGIN * 2, *_dale(weight.channels))
    statistics = [layer.neurons] if layer.neurons is not None else [weight.neurons for weight in layer.weights]
    for part in statistics:
        yield ()
        rows = _ranked(part, view.top or _RANKED)
        yield from table(_NEURON_COLUMNS, rows, view.width) or _stacked(_NEURON_COLUMNS, rows)
    yield ()
    yield from _oddities(layer, view)
    yield from _notes(health, view)


_UNITS = {
    "stored": "as stored",
    "dequantized": "dequantized by its scale and zero point",
    "steps": "in quantization steps: its scale is not known",
}
_NEURON_COLUMNS = tuple(
    Column(heading, right=True)
    for heading in ("neuron", "min", "max", "mean", "L2", "excitatory", "inhibitory", "zero", "subnormal", "NaN", "Inf")
)


def _dale(channels: Channels) -> tuple[str, ...]:
    agreement = channels.agreement[np.isfinite(channels.agreement)]
    pure = _sum(agreement == 1)
    mean = f", of one sign on average {_percent(float(agreement.mean()))}" if agreement.size else ""
    return (f"{plural(channels.size, 'presynaptic channel')}, {pure:,} of one sign only{mean}",)


def _ranked(part: Statistics, count: int) -> list[Row]:
    order = np.argsort(-np.nan_to_num(part.l2, nan=np.inf), kind="stable")[:count]
    rows = []
    for neuron in order.tolist():
        values = [_number(float(getattr(part, name)[neuron])) for name in ("min", "max", "mean", "l2")]
        counts = [int(getattr(part, name)[neuron]) for name in _COUNTS]
        rows.append(
            Row((_cell(str(neuron)), *map(_cell, values), *(_cell(f"{count:,}" if count else "") for count in counts)))
        )
    return rows


_COUNTS = ("positive", "negative", "zeros", "subnormals", "nan", "inf")


def _oddities(layer: LayerHealth, view: View) -> Iterator[Line]:
    width = None if view.width is None else view.width - len(MARGIN)
    whole = layer.neurons
    found = []
    if whole is not None:
        for name in ("dead", "broken", "constant"):
            numbers = np.flatnonzero(getattr(whole, name))
            if numbers.size:
                found.append(f"{_WORDS[name]}: {_listed(numbers)}")
    for weight in layer.weights:
        numbers = np.flatnonzero(weight.channels.silent)
        if numbers.size:
            found.append(f"inputs of {shown(weight.name)} that nobody hears: {_listed(numbers)}")
    found += [_said(group) for group in layer.duplicates[:MOST_LISTED]]
    for text in found:
        for piece in wrap(text, width):
            yield line(MARGIN, (piece, "bad"))


_WORDS = {"dead": "all weights zero", "broken": "with NaN or Inf", "constant": "all weights equal"}


def _said(group: Duplicates) -> str:
    kind = "copies" if group.copies else "multiples"
    return f"{kind} of each other: {_listed(group.neurons)}"


def _listed(numbers: npt.NDArray[Any]) -> str:
    few = ", ".join(str(number) for number in numbers[:MOST_LISTED].tolist())
    return few if numbers.size <= MOST_LISTED else f"{few}, and {numbers.size - MOST_LISTED:,} more"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


def _percent(share: float) -> str:
    if np.isnan(share) or not share:
        return ""
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"


def health_record(analysis: Analysis, health: Health, *, everything: bool = False) -> dict[str, Any]:
    """The scan as plain dictionaries. ``everything``: with the statistics of every neuron and channel, as lists."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"path": os.fsencode(analysis.model.path).decode("utf-8", "backslashreplace")},
        "bytes_read": health.bytes_read,
        "layers": [_layer_record(layer, everything) for layer in health.layers],
        "lookups": [_weight_record(lookup, everything) for lookup in health.lookups],
        "modulators": [
            {
                "id": each.modulator, "position": each.position, "kind": each.kind, "of": each.of, "name": each.name,
                "dtype": each.dtype, "elements": each.elements, "min": _strict(each.min), "max": _strict(each.max),
                "nan": each.nan_count, "inf": each.inf_count, "zeros": each.zero_count,
                "nan_at": each.nan.tolist(), "inf_at": each.inf.tolist(), "zero_at": each.zeros.tolist(),
            }
            for each in health.modulators
        ],
        "skipped": [{"where": s.where, "name": s.name, "reason": s.reason} for s in health.skipped],
        "duplicates_limited": list(health.duplicates_limited),
    }  # fmt: skip


def _layer_record(layer: LayerHealth, everything: bool) -> dict[str, Any]:
    facts = {name: _strict(value) for name, value in _facts(layer).items()}
    whole = layer.neurons
    return {
        "id": layer.id,
        "scanned": layer.scanned,
        "summary": facts,
        "neurons": None if whole is None else _statistics_record(whole, everything),
        "duplicates": [
            {"neurons": g.neurons.tolist(), "factors": [float(f) for f in g.factors], "weight": g.position}
            for g in layer.duplicates
        ],
        "weights": [_weight_record(weight, everything) for weight in layer.weights],
    }


def _weight_record(weight: WeightHealth, everything: bool) -> dict[str, Any]:
    channels = weight.channels
    made: dict[str, Any] = {
        "owner": weight.layer,
        "position": weight.position,
        "name": weight.name,
        "dtype": weight.dtype,
        "units": weight.units,
        "taps": weight.taps,
        "neurons": _statistics_record(weight.neurons, everything),
        "channels": {
            "count": channels.size,
            "elements": channels.elements,
            "groups": channels.groups,
            "silent": np.flatnonzero(channels.silent).tolist(),
            "one_sign": _sum(channels.agreement == 1),
        },
    }
    if everything:
        made["channels"] |= {
            name: [_strict(value) for value in getattr(channels, name).tolist()]
            for name in ("positive", "negative", "zeros", "nan", "l2")
        }
    return made


def _statistics_record(part: Statistics, everything: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "count": part.size,
        "elements": part.elements,
        "dead": np.flatnonzero(part.dead).tolist(),
        "broken": np.flatnonzero(part.broken).tolist(),
        "constant": np.flatnonzero(part.constant).tolist(),
        **{f"{name}_total": _sum(getattr(part, name)) for name in _COUNTS},
    }
    if everything:
        made |= {
            name: [_strict(value) for value in getattr(part, name).tolist()]
            for name in ("min", "max", "mean", "l2", *_COUNTS)
        }
    return made


def _strict(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
