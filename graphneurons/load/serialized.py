"""The JSON of an exported program (`torch/_export/serde/schema.py`), read into a `Program` without torch.

Everything in it is untrusted: no expression is evaluated (sizes come with the number they had), no target is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphneurons.errors import LoadError
from graphneurons.graph import Value
from graphneurons.load.programs import DEEPEST, Argument, Body, Call, Program, Ref

TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex64", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8e4m3fn",
    30: "float8e5m2", 31: "float8e4m3fnuz", 32: "float8e5m2fnuz", 33: "float8e8m0", 34: "uint32", 35: "uint64",
}  # fmt: skip
"""ScalarType of the schema -> the ONNX name."""

UNKNOWN_SIZE = 16
"""The size of a dimension whose example the archive does not keep."""

_LARGEST = 1 << 62
_LONGEST_RANK = 64
_OPTIONAL: Mapping[str, Sequence[str]] = {
    "aten._grouped_mm.default": ("self", "mat2", "offs", "bias"),
    "aten._scaled_mm.default": ("self", "mat2", "scale_a", "scale_b", "bias", "scale_result"),
    "aten.embedding_bag.default": ("weight", "indices", "offsets", "per_sample_weights"),
    "aten.lstm_cell.default": ("input", "hx", "w_ih", "w_hh", "b_ih", "b_hh"),
}
"""Operators with optional tensors in front of others: those left out are not in the archive."""


class Reader:
    """Reads the graphs of one file; ``path`` is for messages."""

    def __init__(self, path: str) -> None:
        self.path = path

    def fail(self, what: str, where: str = "") -> LoadError:
        return LoadError(f"damaged or of an unknown version: {what}; export it again", file=self.path, where=where)

    def mapping(self, found: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(found, dict):
            raise self.fail("an object is missing", where)
        return found

    def items(self, found: Any, where: str) -> Sequence[Any]:
        if not isinstance(found, list):
            raise self.fail("a list is missing", where)
        return found

    def text(self, found: Any, where: str) -> str:
        if not isinstance(found, str) or not _is_text(found):
            raise self.fail("a name is missing", where)
        return found

    def program(self, graph: Any, depth: int = 0) -> Program:
        """A graph and the subgraphs in it."""
        if depth >= DEEPEST:
            raise LoadError(f"subgraphs are nested deeper than {DEEPEST}", file=self.path)
        graph = self.mapping(graph, "graph")
        sizes = self._sizes(graph)
        values: dict[str, Value] = {}
        for name, meta in self.mapping(graph.get("tensor_values"), "tensor_values").items():
            dtype, shape = self.tensor(meta, name)
            values[self.text(name, "tensor_values")] = Value(name, dtype, shape)
        calls: list[Call] = []
        for number, node in enumerate(self.items(graph.get("nodes"), "nodes")):
            call = self._call(node, number, sizes, values, depth)
            if call is not None:
                calls.append(call)
        inputs = tuple(self._names(graph.get("inputs"), "inputs"))
        outputs = [self.argument(item, "outputs", sizes, depth) for item in self.items(graph.get("outputs"), "outputs")]
        return Program(inputs, tuple(calls), tuple(outputs), values)

    def _names(self, found: Any, where: str) -> Iterator[str]:
        for item in self.items(found, where):
            tensor = self.mapping(item, where).get("as_tensor")
            if tensor is not None:
                yield self.text(self.mapping(tensor, where).get("name"), where)

    def _sizes(self, graph: Mapping[str, Any]) -> Mapping[str, int]:
        """The number every symbolic size had when the program was traced."""
        known = self.mapping(graph.get("sym_int_values") or {}, "sym_int_values")
        return {name: self.size(value, name) for name, value in known.items()}

    def size(self, found: Any, where: str) -> int:
        size = self.mapping(found, where)
        if "as_int" in size:
            number = size["as_int"]
        else:
            expression = self.mapping(size.get("as_expr"), where)
            hint = expression.get("hint")
            number = self.mapping(hint, where).get("as_int", UNKNOWN_SIZE) if hint is not None else UNKNOWN_SIZE
        if not isinstance(number, int) or isinstance(number, bool) or abs(number) > _LARGEST:
            raise self.fail("a size is no number", where)
        return number

    def tensor(self, found: Any, where: str) -> tuple[str, tuple[int, ...]]:
        """Type and shape of a tensor's description."""
        meta = self.mapping(found, where)
        sizes = self.items(meta.get("sizes"), where)
        if len(sizes) > _LONGEST_RANK:
            raise self.fail(f"a tensor of {len(sizes)} axes", where)
        shape = tuple(self.size(size, where) for size in sizes)
        if min(shape, default=0) < 0:
            raise self.fail(f"shape {list(shape)} has a negative size", where)
        dtype = meta.get("dtype")
        if not isinstance(dtype, int) or dtype not in TYPES:
            raise self.fail(f"element type {dtype!r} is not known", where)
        return TYPES[dtype], shape

    def _call(
        self, found: Any, number: int, sizes: Mapping[str, int], values: Mapping[str, Value], depth: int
    ) -> Call | None:
        node = self.mapping(found, f"node {number}")
        where = f"node {number}"
        target = self.text(node.get("target"), where).removeprefix("torch.ops.")
        results: list[str] = []
        for output in self.items(node.get("outputs"), where):
            results.extend(self._results(output, where))
        name = node.get("name") or next(filter(None, results), "") or f"node_{number}"
        results = [result if result in values else "" for result in results]
        if not any(results) and not target.startswith("higher_order."):
            return None
        arguments: list[tuple[str, Argument]] = []
        for item in self.items(node.get("inputs"), where):
            given = self.mapping(item, where)
            label = self.text(given.get("name") or "", where) or f"arg{len(arguments)}"
            arguments.append((label, self.argument(given.get("arg"), where, sizes, depth)))
        metadata = node.get("metadata") or {}
        scope = _scope(self.mapping(metadata, where).get("nn_module_stack"))
        return Call(self.text(name, where), target, _in_order(target, arguments), tuple(results), scope)

    def _results(self, found: Any, where: str) -> Iterator[str]:
        output = self.mapping(found, where)
        if "as_tensor" in output:
            yield self.text(self.mapping(output["as_tensor"], where).get("name"), where)
        elif "as_tensors" in output or "as_optional_tensors" in output:
            for item in self.items(output.get("as_tensors", output.get("as_optional_tensors")), where):
                tensor = self.mapping(item, where)
                tensor = tensor.get("as_tensor", tensor)
                yield self.text(tensor.get("name"), where) if isinstance(tensor, dict) and "name" in tensor else ""
        else:
            yield ""

    def argument(self, found: Any, where: str, sizes: Mapping[str, int], depth: int) -> Argument:
        """One argument: a union, of which the only field that is set tells the kind."""
        union = self.mapping(found, where)
        if len(union) != 1:
            raise self.fail("an argument is of several kinds", where)
        kind, value = next(iter(union.items()))
        if kind in ("as_tensor", "as_custom_obj"):
            return Ref(self.text(self.mapping(value, where).get("name"), where))
        if kind in ("as_tensors", "as_optional_tensors"):
            return tuple(self._tensor_or_none(item, where) for item in self.items(value, where))
        if kind == "as_optional_tensor":
            return self._tensor_or_none(value, where)
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return self._symbol(value, where, sizes)
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools"):
            return tuple(self._symbol(item, where, sizes) for item in self.items(value, where))
        if kind == "as_graph":
            return Body(self.program(self.mapping(value, where).get("graph"), depth + 1))
        if kind == "as_scalar_type":
            return TYPES.get(value) if isinstance(value, int) else None
        if kind in ("as_ints", "as_floats", "as_bools", "as_strings"):
            return tuple(self._plain(item, where) for item in self.items(value, where))
        if kind in ("as_int", "as_float", "as_bool", "as_string"):
            return self._plain(value, where)
        return None

    def _plain(self, value: Any, where: str) -> Argument:
        if isinstance(value, str):
            return value if _is_text(value) else None
        if isinstance(value, int) and abs(value) > _LARGEST:
            return _LARGEST if value > 0 else -_LARGEST
        if not isinstance(value, (int, float)):
            raise self.fail("a number is missing", where)
        return value

    def _tensor_or_none(self, found: Any, where: str) -> Argument:
        item = self.mapping(found, where)
        item = item.get("as_tensor", item)
        name = item.get("name") if isinstance(item, dict) else None
        return Ref(self.text(name, where)) if name is not None else None

    def _symbol(self, found: Any, where: str, sizes: Mapping[str, int]) -> Argument:
        item = self.mapping(found, where)
        if "as_name" in item:
            return sizes.get(self.text(item["as_name"], where), UNKNOWN_SIZE)
        plain = next((value for key, value in item.items() if key in ("as_int", "as_float", "as_bool")), None)
        return self._plain(plain, where)


def _in_order(target: str, arguments: list[tuple[str, Argument]]) -> tuple[tuple[str, Argument], ...]:
    tensors = _OPTIONAL.get(target)
    if tensors is None:
        return tuple(arguments)
    given = dict(arguments)
    rest = [(name, value) for name, value in arguments if name not in tensors]
    return (*((name, given.get(name)) for name in tensors), *rest)


def _scope(stack: Any) -> tuple[str, ...]:
    """``L__self__,,M;L__self__m,m,torch.nn.Linear``: the last module's path, as attribute names."""
    if not isinstance(stack, str) or len(stack) > 1 << 16 or not _is_text(stack):
        return ()
    parts = stack.rpartition(";")[2].split(",")
    path = parts[1].partition("@")[0] if len(parts) > 1 else ""
    return tuple(part for part in path.split(".")[:64] if part)


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON can spell lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
