"""Makes the shapes of a model's inputs concrete: what the caller says, then what the file says, then sane defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping

from graphneurons.axes.rules.site import Shape
from graphneurons.errors import UsageError
from graphneurons.graph import Dim, ModelGraph, Value

DEFAULTS: tuple[tuple[str, int], ...] = (
    (r"total.*(seq|len)|mask_len", 32),
    (r"past|cache|mem", 16),
    (r"batch|^n$|^b$|^bs$|num_samples|^unk__0$", 1),
    (r"seq|token|len|word|^s$|^t$|^l$|position|ctx|context", 16),
    (r"frame|time|audio|sample", 128),
    (r"height|width|^h$|^w$|image|size|pixel|resolution", 224),
    (r"chan|^c$", 3),
)
"""Pattern of a dynamic dimension's name -> the size it is given where nobody says otherwise; the first match counts."""

_TERM = re.compile(r"\s*([+*-])?\s*(?:(\d+)|([A-Za-z_][\w.]*))")


class Dimensions:
    """Sizes of named dynamic dimensions; a name has the same size wherever it stands."""

    def __init__(self, given: Mapping[str, int]) -> None:
        self.given = given
        self.sizes: dict[str, int] = dict(given)

    def size(self, name: str, axis: int, rank: int) -> int:
        """The size of dimension ``name`` where it first stands: axis ``axis`` of a tensor of ``rank`` axes."""
        if name not in self.sizes:
            self.sizes[name] = self._sum(name, axis, rank)
        return self.sizes[name]

    def known(self, name: str) -> int | None:
        return self.sizes.get(name)

    def _sum(self, name: str, axis: int, rank: int) -> int:
        terms = list(_TERM.finditer(name))
        composed = len(terms) > 1 and "".join(term.group(0) for term in terms) == name
        if not composed:
            return default_size(name, axis, rank)
        total = 0
        for term in terms:
            sign, number, other = term.groups()
            size = int(number) if number else self.size(other, axis, rank)
            total = total * size if sign == "*" else total - size if sign == "-" else total + size
        return max(total, 1)


def default_size(name: str | None, axis: int, rank: int) -> int:
    """What an unnamed or unknown dimension is given: one sample, 224 x 224 pixels, 16 tokens."""
    for pattern, size in DEFAULTS:
        if name and re.search(pattern, name.lower()):
            return size
    if axis == 0:
        return 1 if rank > 1 else 16
    return 224 if rank == 4 else 32 if rank == 5 else 16


def concrete_inputs(
    graph: ModelGraph, shapes: Mapping[str, Shape], dims: Mapping[str, int]
) -> tuple[dict[str, Shape | None], Dimensions]:
    """The shape of every input of ``graph``. ``shapes``: input name -> shape (``""``: the only input); ``dims``:
    dimension name -> size. Raises `UsageError` for a name the model does not have, listing those it has."""
    wanted = dict(shapes)
    names = [value.name for value in graph.inputs]
    if "" in wanted:
        if len(names) != 1:
            raise UsageError(
                f"--shape without a name needs a model with one input, this has {len(names)}: {', '.join(names)}; "
                "write --shape NAME=1,3,224,224",
                file=graph.info.path,
            )
        wanted[names[0]] = wanted.pop("")
    for name in wanted:
        if name not in names:
            raise UsageError(f"no input is called {name!r}; the inputs are {', '.join(names)}", file=graph.info.path)
    symbols, parts = dimensions_of(graph)
    for name in dims:
        if name not in symbols and name not in parts:
            listed = ", ".join(sorted(symbols)) or "none"
            raise UsageError(
                f"no dimension is called {name!r}; the dynamic dimensions are: {listed}", file=graph.info.path
            )
    known = Dimensions(dims)
    result: dict[str, Shape | None] = {}
    for value in graph.inputs:
        result[value.name] = _fixed(graph, value, wanted.get(value.name), known)
    for value in graph.inputs:
        if result[value.name] is None and value.shape is not None:
            result[value.name] = _filled(value.shape, known)
    return result, known


def dimensions_of(graph: ModelGraph) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the dynamic dimensions of ``graph`` as they are declared, and those out of which they are computed."""
    values = (*graph.inputs, *graph.declared.values())
    symbols = frozenset(dim for value in values for dim in value.shape or () if isinstance(dim, str))
    return symbols, frozenset(
        term.group(3) for symbol in symbols for term in _TERM.finditer(symbol) if term.group(3)
    )


def _fixed(graph: ModelGraph, value: Value, wanted: Shape | None, known: Dimensions) -> Shape | None:
    """The shape the caller gave, checked against the declared one; it also fixes the dimensions named there."""
    if wanted is None:
        return None
    declared = value.shape
    if declared is not None and len(declared) != len(wanted):
        raise UsageError(
            f"--shape gives {len(wanted)} axes, the file declares {len(declared)}: {list(declared)}",
            file=graph.info.path,
            where=value.name,
        )
    for dim, size in zip(declared or (), wanted, strict=False):
        if isinstance(dim, int) and dim != size:
            raise UsageError(
                f"--shape gives {list(wanted)}, the file declares {list(declared or ())}",
                file=graph.info.path,
                where=value.name,
            )
        if isinstance(dim, str):
            known.sizes.setdefault(dim, size)
    return wanted


def _filled(shape: tuple[Dim, ...], known: Dimensions) -> Shape:
    return tuple(
        dim
        if isinstance(dim, int)
        else known.size(dim, axis, len(shape))
        if isinstance(dim, str)
        else default_size(None, axis, len(shape))
        for axis, dim in enumerate(shape)
    )


def declared_shape(value: Value | None, known: Dimensions) -> Shape | None:
    """What the file declares of a value, where every dimension of it is a number or has been given one."""
    if value is None or value.shape is None:
        return None
    sizes = [known.known(dim) if isinstance(dim, str) else dim for dim in value.shape]
    return (
        None if any(size is None or size < 0 for size in sizes) else tuple(size for size in sizes if size is not None)
    )
