"""An ONNX file to a `ModelGraph`: opens, skims, parses, checks, flattens and sorts. Weights stay where they are."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graphneurons.collecting import paused_collection
from graphneurons.errors import LoadError
from graphneurons.graph import ModelGraph, ModelInfo, Op
from graphneurons.load.coefficients import with_coefficients
from graphneurons.load.externals import Externals
from graphneurons.load.flatten import Flattening
from graphneurons.load.frames import Frame
from graphneurons.load.functions import key_of, label, read_functions
from graphneurons.load.nodes import normal_domain
from graphneurons.load.notices import Notices
from graphneurons.load.order import first_unsorted, topological
from graphneurons.load.paths import open_model
from graphneurons.load.protobuf import SURELY_KNOWN, model_proto, newest_opset
from graphneurons.load.repeats import Repeats
from graphneurons.load.sequences import with_slices
from graphneurons.load.sniff import looks_like, message_like
from graphneurons.load.tensors import Tensors
from graphneurons.load.values import value_of
from graphneurons.load.wire import Buffer, Skimmed, skim
from graphneurons.load.wording import quoted

MOST_NODES = 2_000_000
_TWO_GIB = 1 << 31
_HEAD = 4096


def load_file(path: str) -> ModelGraph:
    """The graph of the ONNX file ``path``. Raises `LoadError`."""
    descriptor = open_model(path)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            raise LoadError("the file is empty; download or export it again", file=path)
        try:
            buffer = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise LoadError(f"the file cannot be read ({error})", file=path) from None
    finally:
        os.close(descriptor)
    with buffer:
        return _load(buffer, path, os.path.dirname(path))


def load_bytes(data: bytes, path: str = "<memory>") -> ModelGraph:
    """The graph of an ONNX model in memory. Weights keep their bytes (`Inline`). Raises `LoadError`."""
    if not data:
        raise LoadError("the model is empty", file=path)
    return _load(data, path, None)


@contextmanager
def _honest(path: str) -> Iterator[None]:
    """Failures of the machinery below, in the package's own words."""
    from google.protobuf.message import DecodeError

    try:
        yield
    except DecodeError as error:
        if "MaxDepth" in str(error):
            raise LoadError("messages are nested deeper than any protobuf library reads (100)", file=path) from None
        raise LoadError("damaged: protobuf cannot parse the structure; export it again", file=path) from None
    except UnicodeDecodeError as error:
        raise LoadError(f"a name in the file is not UTF-8 ({quoted(error.object)})", file=path) from None
    except RecursionError:
        raise LoadError("messages are nested too deep", file=path) from None
    except MemoryError:
        raise LoadError("the structure does not fit into memory", file=path) from None


def _load(buffer: Buffer, path: str, directory: str | None) -> ModelGraph:
    with _honest(path), paused_collection():
        try:
            repeats = Repeats()
            skimmed = skim(buffer, path, repeats)
            model: Any = model_proto().FromString(skimmed.structure)
        except Exception:
            found = looks_like(buffer[:_HEAD])
            if found is not None:
                raise LoadError(f"not an ONNX model: this is {found}", file=path) from None
            raise
        if not model.HasField("graph"):
            found = looks_like(buffer[:_HEAD]) or message_like(skimmed.top)
            raise LoadError(f"not an ONNX model: this is {found}", file=path)
        return _graph(model, buffer, skimmed, repeats, path, directory)


def _graph(
    model: Any, buffer: Buffer, skimmed: Skimmed, repeats: Repeats, path: str, directory: str | None
) -> ModelGraph:
    graph = model.graph
    if not (graph.node or graph.output or graph.initializer or model.ir_version):
        raise LoadError("not an ONNX model: its graph is empty and nothing else is set", file=path)
    if len(repeats.heads.names) > MOST_NODES:
        raise LoadError(f"{len(repeats.heads.names)} nodes are more than the {MOST_NODES} this reads", file=path)
    notices = Notices()
    externals = Externals(path, directory, notices)
    tensors = Tensors(path, buffer, skimmed, notices, externals, in_memory=directory is None)
    for stored in (model.producer_name, model.producer_version, *(opset.domain for opset in model.opset_import)):
        tensors.text(stored, "the header")
    versions = _note_header(model, skimmed, len(buffer), notices)
    functions = read_functions(model.functions, tensors)
    _note_shadows(model, notices)
    flat = Flattening(tensors, notices, functions)
    flat.check(graph for info in model.training_info for graph in (info.initialization, info.algorithm))
    flat.check(graph for function in functions.values() for node in function.nodes for _, graph in node.graphs)
    frame = Frame(versions)
    body = flat.open_graph(graph, frame, None, repeats)
    inputs = tuple(
        value_of(info, info.name, tensors) for info in graph.input if frame.names[info.name] not in flat.weights
    )
    flat.write(body, frame)
    outputs = tuple(dict.fromkeys(flat.outputs(graph, frame)))
    for value in inputs:
        if not value.dtype:
            notices.add("input-without-type", value.name, "the file does not say what this input is")
    if not flat.ops and not outputs:
        notices.add("empty-graph", "", "the graph has no ops and no outputs")
    found = with_slices(with_coefficients(flat.ops, flat.weights), flat.weights)
    known = [*flat.weights, *(value.name for value in inputs)]
    ops = tuple(found) if flat.in_order else _sorted(found, known, path, notices)
    externals.report_overlaps()
    info = ModelInfo(
        path,
        " ".join(filter(None, (model.producer_name, model.producer_version))),
        model.ir_version,
        tuple((opset.domain, opset.version) for opset in model.opset_import),
        len(buffer),
    )
    return ModelGraph(info, ops, inputs, outputs, flat.weights, flat.declared, notices.all())


def _sorted(ops: list[Op], known: list[str], path: str, notices: Notices) -> tuple[Op, ...]:
    unsorted = first_unsorted(ops, known)
    if unsorted is None:
        return tuple(ops)
    ordered = topological(ops)
    if isinstance(ordered, Op):
        what = f"the op needs its own result {quoted(ordered.output)}: the graph has a cycle"
        raise LoadError(what, file=path, where=ordered.name)
    notices.add("unsorted-nodes", unsorted.name, "nodes are not in the order they run; runtimes refuse this file")
    return ordered


def _note_header(model: Any, skimmed: Skimmed, size: int, notices: Notices) -> dict[str, int]:
    """The model's operator sets by domain, with notes on everything odd about the header."""
    for name, at in skimmed.repeated:
        notices.add(
            "duplicate-field", name, f"given twice (again at byte {at}); protobuf merges both, counts may double"
        )
    if size >= _TWO_GIB:
        notices.add("over-2gib", "", "the file is larger than 2 GiB; no runtime can load it, use external data")
    if not model.ir_version:
        notices.add("missing-ir-version", "", "the file declares no IR version")
    versions: dict[str, int] = {}
    for opset in model.opset_import:
        domain = normal_domain(opset.domain)
        if domain in versions:
            notices.add("duplicate-opset", domain or "ai.onnx", "imported twice; the highest version counts")
        versions[domain] = max(opset.version, versions.get(domain, 0))
    for domain, version in versions.items():
        if version < 1:
            notices.add("impossible-opset", domain or "ai.onnx", f"operator set {version} does not exist")
    if not model.opset_import:
        notices.add("missing-opset", "", "the file imports no operator set")
    if versions.get("", 0) > SURELY_KNOWN and versions[""] > (newest := newest_opset()):
        notices.add("future-opset", "ai.onnx", f"operator set {versions['']} is newer than the newest known, {newest}")
    return versions


def _note_shadows(model: Any, notices: Notices) -> None:
    if not model.functions:
        return
    import onnx

    for proto in model.functions:
        domain, name, _ = key = key_of(proto)
        if onnx.defs.has(name, domain):
            notices.add("shadowed-op", label(key), "a function of the file replaces the standard op of this name")
