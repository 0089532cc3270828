"""GN6: what is wrong with the file itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from graphneurons.axes.rules.tables import RULES
from graphneurons.checks.base import Check, Found, Limits, Subject, check
from graphneurons.checks.declared import contradictions
from graphneurons.errors import printable
from graphneurons.graph import CONTROL, Dim, Notice

PROTOBUF_LIMIT = 2**31
_KNOWN_DOMAINS = frozenset({domain for domain, _ in RULES}) | {
    "ai.onnx", CONTROL, "pkg.onnxscript.torch_lib", "pkg.onnxscript.torch_lib.common"
}
_OPSET_CODES = frozenset(
    {"duplicate-opset", "impossible-opset", "missing-opset", "future-opset", "missing-ir-version", "undeclared-domain"}
)
_LARGE_CODES = frozenset({"over-2gib"})
_EXTERNAL_CODES = frozenset({"external-key", "external-missing", "external-overlap", "external-unused"})


@check("GN601", "external-data", "error")
def external(subject: Subject, limits: Limits) -> Iterator[Found]:
    """External data that is missing, shared by halves, or described in odd ways.

    Reports weights whose bytes lie in another file that is not there, that overlap other weights, or whose description
    has unknown or ignored entries. (Data outside the model's folder is not even opened: that is an error.)

    Why: The model cannot be loaded where it is deployed, or one weight's bytes are read as another's.
    Example: `model.onnx` was copied without `model.onnx.data`.
    Fix: Ship all files together; save the model anew with `onnx.save(..., save_as_external_data=True)`.
    """
    yield from _told(subject, _EXTERNAL_CODES)


@check("GN602", "unknown-domain", "warning")
def domains(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Ops of a domain nobody knows.

    Reports ops that are neither standard ONNX nor onnxruntime's own, and are not defined by a function in the file.

    Why: The runtime needs a library of custom ops, which is code that has to be built, shipped and trusted.
    Example: `acme::FusedBlock`.
    Fix: Export with standard ops; if the library is shipped with the model, ignore this rule.
    """
    counts: dict[str, list[str]] = {}
    for op in subject.analysis.graph.ops:
        if op.domain not in _KNOWN_DOMAINS:
            counts.setdefault(op.domain, []).append(op.type)
    for domain, types in sorted(counts.items()):
        shown = ", ".join(printable(each, 60) for each in sorted(set(types))[:5])
        yield Found(
            f"{len(types)} {'op' if len(types) == 1 else 'ops'} of the domain {printable(domain)!r}: {shown}",
            evidence={"domain": printable(domain), "ops": len(types)},
        )


@check("GN603", "opset-trouble", "warning", least_opset=7)
def opsets(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Operator sets that runtimes do not agree on.

    Reports operator sets that are missing, imported twice, newer than any known, or older than `least-opset`, and ops
    of a domain that is not imported.

    Why: A runtime refuses the file, or takes an op for what it was in another version.
    Example: Operator set 6, in which Add does not broadcast as it does now.
    Fix: Convert the model with `onnx.version_converter`, or export it again with a newer `opset_version`.
    """
    yield from _told(subject, _OPSET_CODES)
    for domain, version in subject.analysis.model.opsets:
        if domain in ("", "ai.onnx") and 0 < version < limits["least-opset"]:
            yield Found(
                f"operator set {version} is older than {limits['least-opset']:g}", evidence={"version": version}
            )


@check("GN604", "oversize", "error")
def oversize(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A file no runtime can load.

    Reports model files of 2 GiB and more.

    Why: Protobuf messages end there: the file opens nowhere.
    Example: A 7 B model saved without external data.
    Fix: Save it with `onnx.save(..., save_as_external_data=True)`.
    """
    yield from _told(subject, _LARGE_CODES)


@check("GN605", "embedded-code", "error")
def code(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Ops or attributes that carry code.

    Reports Python ops, and text attributes that look like a program: shell commands, Python source, pickles, addresses
    of scripts.

    Why: A model is data. Whatever runs code out of it can be made to run anything.
    Example: A `PyOp` with the attribute `module="os"`.
    Fix: Find out where the model comes from before it is loaded anywhere; export it without custom Python ops.
    """
    for op in subject.analysis.graph.ops:
        if op.type in _CODE_OPS:
            yield Found(f"{op.qualified} {printable(op.name)} runs code", evidence={"op": printable(op.name)})
            continue
        for name, value in op.attributes.items():
            texts = [value] if isinstance(value, str) else value if isinstance(value, tuple) else ()
            if any(isinstance(text, str) and _CODE.search(text[:65536]) for text in texts):
                yield Found(
                    f"the attribute {printable(name)} of {op.qualified} {printable(op.name)} looks like code",
                    evidence={"op": printable(op.name), "attribute": printable(name)},
                )


_CODE_OPS = frozenset({"PyOp", "PythonOp", "PyFunc", "EagerPyFunc"})
_CODE = re.compile(
    r"\b(?:__import__|eval|exec|compile|os\.system|subprocess|pickle\.loads|builtins)\b\s*[.(]"
    r"|^\s*(?:import|from)\s+\w+(?:\.\w+)*\s*(?:$|import\b|;)|^\s*def\s+\w+\s*\(|\blambda\b[^:]{0,80}:"
    r"|^#!\s*/|<script\b|\b(?:curl|wget)\s+\S*https?://|/bin/(?:ba)?sh\b|\x80[\x02-\x05]c",
    re.IGNORECASE | re.MULTILINE,
)


@check("GN606", "odd-file", "warning")
def odd(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A file that is not as the format says.

    Reports everything else that was odd while the file was read: nodes out of order, fields given twice, calls that do
    not match their function, impossible sizes.

    Why: Readers differ in what they make of it, so the model that was tested need not be the one that runs.
    Example: `unsorted-nodes`: onnxruntime refuses the file.
    Fix: Export the model again, or load and save it with the onnx package after `onnx.checker.check_model`.
    """
    known = _OPSET_CODES | _LARGE_CODES | _EXTERNAL_CODES
    yield from _told(subject, frozenset(notice.code for notice in subject.analysis.notices) - known)


@check("GN607", "weights-not-read", "warning", reads_weights=True)
def unread(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Weights whose numbers could not be looked at.

    Reports weights in a format that is not unpacked: text, complex numbers, packings this version does not know.

    Why: No rule about neurons or quantization says anything of them.
    Example: A custom 3-bit format in `uint8`.
    Fix: If they are fine as they are, ignore this rule for these layers with `per-layer-ignores`.
    """
    layers = {layer.id for layer in subject.analysis.layers}
    for each in subject.health.skipped:
        yield Found(f"its numbers are not read: {each.reason}", each.where if each.where in layers else None, each.name)


@check("GN608", "declared-shape", "warning")
def declared(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Shapes the file declares that its ops do not compute.

    Compares every shape declared for an intermediate value or an output with the one that follows from the ops, their
    weights and the inputs. Names of dynamic dimensions agree with every size; what depends on them is computed with
    two sizes and only reported if neither fits. What control flow may change is left out.

    Why: Who allocates by the declaration reads past the end, or half of the result; converters that trust it fail far
    from the cause, and a layer was edited without its surroundings.
    Example: The output is declared [1, 1000], and the last layer was cut to 10 neurons.
    Fix: Remove the stale `value_info` and infer it anew with `onnx.shape_inference.infer_shapes`, and correct the
    declared output; if the declaration is right, the weight is wrong.
    """
    layers = {layer.op.name: layer.id for layer in subject.analysis.layers}
    outputs = set(subject.analysis.graph.outputs)
    for each in contradictions(subject.analysis):
        said, made = (_shape(shape) for shape in (each.declared, each.computed))
        more = f" (and {each.following} more that follow from it)" if each.following else ""
        what = "output" if each.value in outputs else "value"
        yield Found(
            f"the {what} {printable(each.value)} is declared {said}, but {each.op.qualified} makes {made}{more}",
            layers.get(each.op.name),
            evidence={
                "value": printable(each.value),
                "declared": [printable(dim) if isinstance(dim, str) else dim for dim in each.declared],
                "computed": list(each.computed),
                "op": printable(each.op.name),
            },
        )


def _shape(shape: tuple[Dim, ...]) -> str:
    return f"[{', '.join('?' if dim is None else printable(str(dim), 40) for dim in shape[:12])}]"


def _told(subject: Subject, codes: frozenset[str]) -> Iterator[Found]:
    notices: dict[str, list[Notice]] = {}
    for notice in subject.analysis.notices:
        if notice.code in codes:
            notices.setdefault(notice.code, []).append(notice)
    for name, alike in notices.items():
        first = alike[0]
        place = f"{first.where}: " if first.where else ""
        more = f" (and {len(alike) - 1} more)" if len(alike) > 1 else ""
        yield Found(f"{place}{first.message}{more}", evidence={"notice": name, "count": len(alike)})


CHECKS: tuple[Check, ...] = (external, domains, opsets, oversize, code, odd, unread, declared)
