"""`export_onnx`: PyTorch's exporter with settings that keep names and metadata, and a check that nothing got lost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from graphneurons.analyzing import analyze
from graphneurons.errors import LoadError
from graphneurons.matching import OTHER_SYNAPSES, Match, Pair, match
from graphneurons.tracing import failure, imported, name_of, trace


def export_onnx(
    module: Any,
    args: Sequence[Any],
    path: str | os.PathLike[str],
    *,
    kwargs: Mapping[str, Any] | None = None,
    check: bool = True,
    **options: Any,
) -> Match:
    """Writes ``module`` called with ``args`` to the ONNX file ``path``, and pairs the layers of both.

    A thin wrapper of ``torch.onnx.export(dynamo=True)``, which takes all other ``options``. Two defaults differ: the
    graph is not optimized, so that every parameter keeps its name and its orientation and every node the module path
    it comes from (a runtime optimizes when it loads the file), and nothing is printed. Pass ``optimize=True`` for the
    exporter's default.

    With ``check``, both sides are analyzed and compared, weights included. Raises `LoadError` where the file lacks a
    layer of the module, has one more, or other synapses; the file stays, to be looked at. `UsageError` without PyTorch.
    """
    torch = imported()
    settings: dict[str, Any] = {"optimize": False, "verbose": False, **options, "dynamo": True}
    target = os.fspath(path)
    try:
        torch.onnx.export(module, tuple(args), target, kwargs=dict(kwargs or {}), **settings)
    except Exception as error:
        raise LoadError(failure(error.__cause__ or error, False), file=name_of(module)) from error
    if not check:
        return Match(())
    found = match(analyze(trace(module, *args, **(kwargs or {}))), analyze(target))
    wrong = [*_missing(found), *(_changed(pair) for pair in found.pairs if OTHER_SYNAPSES & {*pair.changes})]
    if wrong:
        raise LoadError(f"the file is not the module: {'; '.join(wrong[:4])}", file=target)
    return found


def _missing(found: Match) -> list[str]:
    told = [f"layer {name!r} of the module is not in it" for name in found.only_a]
    return told + [f"layer {name!r} is not in the module" for name in found.only_b]


def _changed(pair: Pair) -> str:
    return f"layer {pair.a!r} has other synapses ({', '.join(pair.changes)})"
