"""One row per weight of every layer, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from graphneurons.analysis import Analysis, Axis, OpRef, WeightUse
from graphneurons.reports.names import shown
from graphneurons.reports.sums import Sum, by_op, by_scope, largest
from graphneurons.reports.text import View

_LONGEST = 2000
_COLUMNS = (
    *(
        "model",
        "record",
        "id",
        "scope",
        "kind",
        "role",
        "op",
        "domain",
        "op_name",
        "output",
        "neurons",
        "synapses_per_neuron",
    ),
    *(
        "synapses",
        "units",
        "activation",
        "tied_to",
        "use",
        "weight",
        "input",
        "dtype",
        "shape",
        "axes",
        "part",
        "reason",
    ),
)
_SUM_COLUMNS = ("model", "depth", "name", "layers", "neurons", "synapses", "parameters")

Value = str | int | None


def as_csv(analysis: Analysis, view: View = View(), *, header: bool = True) -> str:  # noqa: B008
    """Rows of comma-separated values: weights of layers, with ``view.everything`` those of all other records too.

    The numbers of a layer are repeated on the row of each of its weights (``use`` is 0 on the first), and tied layers
    have rows of their own: sum where ``use`` is 0 and ``tied_to`` is empty. With ``view.by`` scope or op the rows are
    sums. Cells that a spreadsheet would take for a formula start with an apostrophe.
    """
    model = shown(analysis.model.path, _LONGEST)
    if view.by == "layer":
        columns: Sequence[str] = _COLUMNS
        rows = (tuple(row.get(name) for name in _COLUMNS) for row in _rows(analysis, view))
        wanted = ((model, *row[1:]) for row in rows)
    else:
        columns = _SUM_COLUMNS
        sums = by_scope(analysis, view.depth) if view.by == "scope" else by_op(analysis)[: view.top]
        wanted = ((model, *_sum(each)) for each in sums)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in wanted)
    return out.getvalue()


def _cell(value: Value) -> Value:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _sum(each: Sum) -> tuple[Value, ...]:
    name = shown(each.name, _LONGEST)
    return each.depth, name, each.layers, each.neurons, each.synapses, each.parameters


def _rows(analysis: Analysis, view: View) -> Iterator[dict[str, Value]]:
    layers = analysis.layers if view.top is None else largest(analysis.layers, view.top)[0]
    for layer in layers:
        common: dict[str, Value] = {
            **_common("layer", layer.id, layer.scope, layer.op),
            "kind": shown(layer.kind),
            "role": shown(layer.role or ""),
            "neurons": layer.neurons,
            "synapses_per_neuron": layer.synapses_per_neuron,
            "synapses": layer.synapses,
            "units": layer.units,
            "activation": shown(layer.activation or ""),
            "tied_to": shown(layer.tied_to or "", _LONGEST),
        }
        yield from (common | weight for weight in _weights(layer.weights))
    if not view.everything:
        return
    for lookup in analysis.lookups:
        common = _common("lookup", lookup.id, lookup.scope, lookup.op)
        yield from (common | weight for weight in _weights(lookup.weights))
    for modulator in analysis.modulators:
        common = _common("modulator", modulator.id, modulator.scope, modulator.op) | {"kind": shown(modulator.kind)}
        yield from (common | weight for weight in _weights(modulator.weights))
    for each in analysis.unlabelled:
        yield {
            **_common("unlabelled", "", (), each.op),
            "weight": shown(each.name, _LONGEST),
            "shape": _by(each.shape),
            "reason": shown(each.reason, _LONGEST),
        }


def _common(record: str, id: str, scope: tuple[str, ...], op: OpRef) -> dict[str, Value]:
    return {
        "record": record,
        "id": shown(id, _LONGEST),
        "scope": shown(".".join(scope), _LONGEST),
        "op": shown(op.type),
        "domain": shown(op.domain),
        "op_name": shown(op.name, _LONGEST),
        "output": shown(op.output, _LONGEST),
    }


def _weights(uses: Sequence[WeightUse]) -> Iterator[dict[str, Value]]:
    for number, use in enumerate(uses):
        part = "" if use.part is None else " ".join(f"{start}:{stop}" for start, stop in use.part)
        yield {
            "use": number,
            "weight": shown(use.weight.name, _LONGEST),
            "input": use.input,
            "dtype": shown(use.weight.dtype),
            "shape": _by(use.weight.shape),
            "axes": " ".join(_axis(axis) for axis in use.axes),
            "part": part,
        }


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _axis(axis: Axis) -> str:
    """``neuron``, or ``neuron(gate*h)`` and ``mixed(g:shared*i:synapse)`` for products."""
    if len(axis.factors) < 2:
        return axis.role
    mixed = axis.role == "mixed"
    return f"{axis.role}({'*'.join(shown(f.name) + (f':{f.role}' if mixed else '') for f in axis.factors)})"
