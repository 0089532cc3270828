"""``package.module:factory`` on the command line: imports the caller's code, calls it, and traces what it returns.

This runs code, so it happens only when the caller says that the code is trusted.
"""

from __future__ import annotations

import importlib
import inspect
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from graphneurons.errors import GraphNeuronsError, LoadError, UsageError
from graphneurons.graph import ModelGraph
from graphneurons.tracing import imported, trace, user_line

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_TYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
)  # fmt: skip
EXAMPLE = "--input 1,3,224,224, or --input int64:1,16 for tokens"


@dataclass(frozen=True, slots=True)
class Example:
    """One ``--input``: the argument's name (``""``: by position), element type and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def is_factory(text: str) -> bool:
    """Whether ``text`` names a factory: it is spelled like one, and no file is called so."""
    return bool(_FACTORY.fullmatch(text)) and not os.path.exists(text)


def parse_example(text: str) -> Example:
    """``1,3,224,224``, ``int64:1,16`` or ``input_ids=int64:1,16``. Raises `UsageError`.

    >>> parse_example("ids=int64:1,16")
    Example(name='ids', dtype='int64', shape=(1, 16))
    """
    name, _, rest = text.rpartition("=")
    dtype, _, sizes = rest.rpartition(":")
    numbers = [size.strip() for size in sizes.split(",")] if sizes.strip() else []
    if (dtype and dtype not in _TYPES) or not all(
        size.isascii() and size.isdigit() and len(size) < 10 for size in numbers
    ):
        raise UsageError(
            f"--input {text}: expected [NAME=][TYPE:]SIZES, as in {EXAMPLE}; types are {', '.join(_TYPES)}"
        )
    return Example(name, dtype or "float32", tuple(int(size) for size in numbers))


def made_by_factory(text: str, *, trusted: bool) -> tuple[Any, tuple[Any, ...]]:
    """What the factory ``text`` returns: anything `graphneurons.trace` takes, and the example arguments that come with
    it, if any. Raises `UsageError` where the code is not trusted, and `LoadError` where it fails."""
    if not trusted:
        raise UsageError(
            "this would import and run Python code; add --trust-code if you trust it, "
            "or analyze an exported model (.onnx, .pt2)",
            file=text,
        )
    imported()
    return _made(text)


def from_factory(text: str, examples: Sequence[Example], *, trusted: bool) -> ModelGraph:
    """The graph of what the factory ``text`` returns: an ``nn.Module``, a pair of one and its example arguments, or
    anything else `graphneurons.trace` takes. Raises `UsageError` and `LoadError`."""
    made, args = made_by_factory(text, trusted=trusted)
    torch = imported()
    if not isinstance(made, torch.nn.Module):
        return trace(made)
    device = next((tensor.device for tensor in (*made.parameters(), *made.buffers())), torch.device("cpu"))
    given = [
        (example.name, torch.zeros(example.shape, dtype=getattr(torch, example.dtype), device=device))
        for example in examples
    ]
    kwargs = {name: tensor for name, tensor in given if name}
    args = tuple(tensor for name, tensor in given if not name) or args
    _check(text, made, args, kwargs)
    try:
        with _quiet():
            return trace(made, *args, **kwargs)
    except LoadError as error:
        raise LoadError(f"{error.message}; {_wanted(made)}, given {_shown(args, kwargs)}", file=text) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the graphs and tracebacks PyTorch prints while it fails: the error says it all."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _made(text: str) -> tuple[Any, tuple[Any, ...]]:
    """What the factory returns, and the example arguments that come with it."""
    module_name, _, path = text.partition(":")
    # As with `python -m`: modules beside the caller come first.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise LoadError(
            f"module {module_name!r} cannot be imported ({error}); run from its folder, or install it", file=text
        ) from error
    except Exception as error:
        raise LoadError(f"importing it fails {_at(error)}: {type(error).__name__}: {error}", file=text) from error
    for part in path.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(found) if not name.startswith("_")][:8]
            raise LoadError(f"there is no {part!r} in it; it has {', '.join(names) or 'nothing'}", file=text)
        found = getattr(found, part)
    if callable(found) and not _is_module(found):
        try:
            found = found()
        except GraphNeuronsError:
            raise
        except Exception as error:
            raise LoadError(f"calling it fails {_at(error)}: {type(error).__name__}: {error}", file=text) from error
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], (tuple, list)):
        return found[0], tuple(found[1])
    return found, ()


def _is_module(found: Any) -> bool:
    return isinstance(found, imported().nn.Module)


def _at(error: Exception) -> str:
    line = user_line(error)
    return f"at {line}" if line else ""


def _check(text: str, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises `UsageError` where the arguments do not fit ``forward``."""
    try:
        inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(f"{_wanted(module)}, given {_shown(args, kwargs)} ({error}); {EXAMPLE}", file=text) from None
    except ValueError:
        return


def _wanted(module: Any) -> str:
    try:
        return f"{type(module).__name__}.forward takes {inspect.signature(module.forward)}"
    except ValueError:
        return f"{type(module).__name__} does not say what it takes"


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    def told(value: Any) -> str:
        shape = getattr(value, "shape", None)
        return type(value).__name__ if shape is None else f"{str(value.dtype).removeprefix('torch.')} {list(shape)}"

    found = [told(value) for value in args] + [f"{name}={told(value)}" for name, value in kwargs.items()]
    return ", ".join(found) or "no inputs"
