"""The JSON contract (docs/analysis.schema.json): strict, deterministic, with the exact names of the file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from graphneurons.analysis import Analysis, Axis, OpRef, WeightUse
from graphneurons.circuits import Circuit, merged
from graphneurons.reports.sources import Sources, junctions, sources
from graphneurons.reports.sums import elements

SCHEMA_VERSION = 1
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False)
_PAIRED = re.compile("#(?=#)")


def to_json(analysis: Analysis, circuits: Sequence[Circuit] | None = None) -> dict[str, Any]:
    """``analysis`` as plain dictionaries, lists, strings and integers, as docs/analysis.schema.json describes them.

    The SHA-256 of the model file is computed here, by reading the file: it is None where there is no such file (a model
    that was built in memory). With ``circuits``, the totals count these in place of the projections they are made of;
    layers stay what they are. Raises OSError where the file can no longer be read.
    """
    totals = analysis.totals if circuits is None else merged(analysis, circuits).totals
    modulating: dict[str, list[str]] = {}
    for modulator in analysis.modulators:
        if modulator.of is not None:
            modulating.setdefault(modulator.of, []).append(modulator.id)
    return {
        "schema_version": SCHEMA_VERSION,
        "model": model_record(analysis),
        "totals": {
            "neurons": totals.neurons,
            "synapses": totals.synapses,
            "parameters": totals.parameters,
            "labelled_elements": totals.labelled_elements,
            "weight_elements": totals.weight_elements,
        },
        "layers": [
            {
                "id": layer.id,
                "scope": ".".join(layer.scope),
                "kind": layer.kind,
                "op": _op(layer.op),
                "neurons": layer.neurons,
                "synapses_per_neuron": layer.synapses_per_neuron,
                "synapses": layer.synapses,
                "activation": layer.activation,
                "weights": _weights(layer.weights, sources(analysis.wiring, layer.id)),
                "units": layer.units,
                "tied_to": layer.tied_to,
                "role": layer.role,
                "modulators": modulating.get(layer.id, []),
            }
            for layer in analysis.layers
        ],
        "lookups": [
            {
                "id": lookup.id,
                "scope": ".".join(lookup.scope),
                "op": _op(lookup.op),
                "rows": lookup.rows,
                "width": lookup.width,
                "weights": _weights(lookup.weights),
            }
            for lookup in analysis.lookups
        ],
        "modulators": [
            {
                "id": modulator.id,
                "scope": ".".join(modulator.scope),
                "kind": modulator.kind,
                "of": modulator.of,
                "op": _op(modulator.op),
                "weights": _weights(modulator.weights),
            }
            for modulator in analysis.modulators
        ],
        "unlabelled": [
            {"name": each.name, "shape": list(each.shape), "op": _op(each.op), "reason": each.reason}
            for each in analysis.unlabelled
        ],
        "junctions": list(junctions(analysis.wiring)),
        **({} if circuits is None else {"circuits": [_circuit(each) for each in circuits]}),
        "notices": [{"code": n.code, "where": n.where, "message": n.message} for n in analysis.notices],
    }


def dumps(analysis: Analysis, circuits: Sequence[Circuit] | None = None) -> str:
    """`to_json` as text: ASCII only, one record per line, so that two versions of a report compare line by line."""
    return dumps_record(to_json(analysis, circuits))


def dumps_many(texts: Iterable[str]) -> str:
    """Several texts made by `dumps` as one: ``{"schema_version": 1, "models": [...]}``."""
    models = ",\n".join(text.rstrip("\n") for text in texts)
    return f'{{\n"schema_version": {SCHEMA_VERSION},\n"models": [\n{models}\n]\n}}\n'


def dumps_record(record: dict[str, Any]) -> str:
    """A dictionary as text, laid out as `dumps` does."""
    return "".join(_written(record, "")) + "\n"


def _written(report: dict[str, Any], indent: str) -> Iterator[str]:
    yield "{"
    for number, (key, value) in enumerate(report.items()):
        yield f"{',' if number else ''}\n{indent} {_strict(key)}: "
        if isinstance(value, list) and value:
            yield "["
            for position, item in enumerate(value):
                yield f"{',' if position else ''}\n{indent}  {_strict(item)}"
            yield f"\n{indent} ]"
        else:
            yield _strict(value)
    yield f"\n{indent}}}"


def _strict(value: Any) -> str:
    # Azure pipelines act upon any "##vso[" in a log, so no two number signs are written side by side.
    text = _ENCODER.encode(value)
    return _PAIRED.sub(r"\\u0023", text) if "##" in text else text


def model_record(analysis: Analysis) -> dict[str, Any]:
    info = analysis.model
    return {
        "path": os.fsencode(info.path).decode("utf-8", "backslashreplace"),
        "producer": info.producer,
        "ir_version": info.ir_version,
        "opsets": {domain or "ai.onnx": version for domain, version in info.opsets},
        "sha256": _sha256(info.path),
    }


def _sha256(path: str) -> str | None:
    if not path or not os.path.isfile(path):
        return None
    from graphneurons.load.reading import digest

    return digest(path)


def _circuit(circuit: Circuit) -> dict[str, Any]:
    return {
        "id": circuit.id,
        "kind": circuit.kind,
        "neurons": circuit.neurons,
        "synapses_per_neuron": circuit.synapses_per_neuron,
        "synapses": circuit.synapses,
        "layers": list(circuit.layers),
    }


def _op(op: OpRef) -> dict[str, str]:
    return {"type": op.type, "domain": op.domain, "name": op.name, "output": op.output}


def _weights(uses: tuple[WeightUse, ...], fed: Sources | None = None) -> list[dict[str, Any]]:
    """``fed``: who feeds the synapses of each; lookups and modulators have none."""
    return [
        {
            "name": use.weight.name,
            "shape": list(use.weight.shape),
            "dtype": use.weight.dtype,
            "input": use.input,
            "elements": elements(use),
            "axes": [_axis(axis) for axis in use.axes],
            "part": None if use.part is None else [list(bounds) for bounds in use.part],
            **({} if fed is None else {"sources": fed.get(position, [])}),
        }
        for position, use in enumerate(uses)
    ]


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "size": axis.size,
        "role": axis.role,
        "factors": [{"name": f.name, "size": f.size, "role": f.role} for f in axis.factors],
    }
