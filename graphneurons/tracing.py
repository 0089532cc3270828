"""`trace`: a PyTorch model, however it is held, to a `ModelGraph`. torch is imported when it is called, not before."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from graphneurons.errors import GraphNeuronsError, LoadError, UsageError
from graphneurons.graph import ModelGraph

if TYPE_CHECKING:
    from torch import nn

INSTALL = "pip install 'graphneurons[torch]'"
How = Literal["auto", "export", "fx"]


def trace(module: Any, *args: Any, strict: bool = False, how: How = "auto", **kwargs: Any) -> ModelGraph:
    """The architecture graph of ``module`` called with ``args`` and ``kwargs``. Weights are referred to, never copied.

    ``module``: an ``nn.Module``; or, without arguments, a ``torch.fx.GraphModule``, an ``ExportedProgram``, an
    ``ONNXProgram``, an ``onnx_ir.Model`` or an ``onnx.ModelProto``. A module whose parameters are on the meta device
    needs no memory for them; arguments may be on any device.

    ``how``: ``"export"`` uses ``torch.export`` without decompositions, ``"fx"`` ``torch.fx.symbolic_trace`` with the
    shapes that fake tensors propagate, ``"auto"`` the first and, where it fails, the second. ``strict`` is
    torch.export's.

    Raises `LoadError` for a module that cannot be traced, with the line and the way out, and `UsageError` for something
    that is no model, or where torch is not installed.

    >>> import graphneurons
    >>> from torch import nn, zeros                                                  # doctest: +SKIP
    >>> graphneurons.analyze(graphneurons.trace(nn.Linear(4, 3), zeros(1, 4)))       # doctest: +SKIP
    """
    from graphneurons.load.memory import from_memory

    if how not in _WAYS:
        raise UsageError(f"how={how!r}; choose one of {', '.join(map(repr, _WAYS))}")
    held = from_memory(module)
    if held is not None:
        return held
    torch = imported()
    if isinstance(module, torch.export.ExportedProgram):
        from graphneurons.load.export import from_exported

        return from_exported(module)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"{type(module).__name__} is no model; give an nn.Module, a GraphModule, an ExportedProgram or a path"
        )
    with plain_attention():
        return _WAYS[how](module, args, kwargs, strict)


def imported() -> Any:
    """torch. Raises `UsageError` with the install command where it is missing."""
    try:
        import torch
        import torch.export
    except ImportError as error:
        raise UsageError(f"PyTorch is not installed ({error}); {INSTALL}") from None
    return torch


@contextmanager
def plain_attention() -> Iterator[None]:
    """Without the fused fast path of nn.MultiheadAttention, which hides linears inside one op."""
    torch = imported()
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _export(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], strict: bool) -> ModelGraph:
    from graphneurons.load.export import from_exported

    torch = imported()
    try:
        program = torch.export.export(module, args, kwargs, strict=strict)
    except Exception as error:
        raise LoadError(failure(error, strict), file=name_of(module)) from error
    return from_exported(program, name_of(module))


def _fx(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], strict: bool) -> ModelGraph:
    from graphneurons.load.fx import from_module

    try:
        return from_module(module, args, kwargs, name_of(module))
    except GraphNeuronsError:
        raise
    except Exception as error:
        raise LoadError(failure(error, True), file=name_of(module)) from error


def _auto(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], strict: bool) -> ModelGraph:
    try:
        return _export(module, args, kwargs, strict)
    except LoadError as first:
        try:
            return _fx(module, args, kwargs, strict)
        except LoadError:
            raise first from None


_WAYS: dict[str, Callable[[Any, tuple[Any, ...], dict[str, Any], bool], ModelGraph]] = {
    "auto": _auto,
    "export": _export,
    "fx": _fx,
}


def name_of(module: Any) -> str:
    """What messages and reports call a module."""
    return f"<{type(module).__name__}>"


_CALLED_WRONGLY = (
    "missing", "required positional", "unexpected keyword", "takes ", "shapes cannot be multiplied", "xpected",
    "must match", "size mismatch", "incompatible",
)  # fmt: skip
_DATA_DEPENDENT = (
    "GuardOnDataDependent", "data-dependent", "Data-dependent", "DataDependent", "UserError", "TraceError",
    "ConstraintViolation",
)  # fmt: skip


def failure(error: BaseException, strict: bool) -> str:
    """Why a module cannot be traced: where, what, and the way out."""
    kind = type(error).__name__
    text = _first_line(error)
    line = user_line(error)
    where = f"at {line}: " if line else ""
    if isinstance(error, TypeError) and any(words in text for words in _CALLED_WRONGLY):
        return f"{where}cannot be called with these inputs: {text}"
    data_dependent = any(name in kind or name in str(error)[:2000] for name in _DATA_DEPENDENT)
    if data_dependent or "control flow" in text or "symbolically traced" in text:
        out = ["give a concrete input that decides the branch", "use torch.cond"]
        out += ["pass strict=False"] if strict else []
        out += ["or trace the parts of the module on their own"]
        return f"{where}what happens next depends on the values of a tensor ({text}); {', '.join(out)}"
    advice = "check the inputs, or trace the parts of the module on their own"
    return f"{where}PyTorch cannot trace it ({kind}: {text}); {advice}"


def _first_line(error: BaseException) -> str:
    for line in str(error).splitlines():
        if line.strip():
            return line.strip()[:300]
    return type(error).__name__


def user_line(error: BaseException) -> str:
    """``file.py:12`` of the innermost line that is not PyTorch's own, also of the error this one came from."""
    own = tuple(os.path.dirname(home) + os.sep for home in (imported().__file__, __file__))
    found = ""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        for frame in traceback.extract_tb(current.__traceback__):
            path = frame.filename
            if not path.startswith(("<", *own)) and os.path.basename(path) not in _MACHINERY:
                found = f"{os.path.basename(path)}:{frame.lineno}"
        current = current.__cause__ or current.__context__
    return found


_MACHINERY = ("contextlib.py", "functools.py")
