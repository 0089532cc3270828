"""Which module of the original program an op comes from, as exporters record it. One normal form: attribute names.

torch.onnx.export(dynamo=True) writes the metadata ``pkg.torch.onnx.name_scopes``:
``"['', 'encoder', 'encoder.layers.0', 'linear']"``, whose last entry is the FX node and whose last but one is the
dotted module path. The TorchScript exporter writes ``/encoder/layers.0/MatMul`` as the node name, and repeats
containers that are called: ``/head/head.0/Gemm``. TensorFlow and Keras write ``model/dense_1/MatMul``. All become
attribute names, outermost first: ``("encoder", "layers", "0")``.
"""

from __future__ import annotations

import re
from functools import lru_cache

_NAME_SCOPES = "pkg.torch.onnx.name_scopes"
_NAMESPACE = "namespace"
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_LONGEST = 4096
_DEEPEST = 64


def scope_of(name: str, metadata: dict[str, str]) -> tuple[str, ...]:
    """The module path of a node called ``name`` with ``metadata``; ``()`` where nothing is recorded.

    >>> scope_of("/encoder/layers.0/linear1/MatMul", {})
    ('encoder', 'layers', '0', 'linear1')
    >>> scope_of("/head/head.0/Gemm", {})
    ('head', '0')
    >>> scope_of("node_linear", {"pkg.torch.onnx.name_scopes": "['', 'head', 'head.0', 'linear_3']"})
    ('head', '0')
    """
    recorded = metadata.get(_NAME_SCOPES)
    if recorded:
        paths = listed(recorded)
        if paths:
            return dotted(paths[-2]) if len(paths) > 1 else ()
    recorded = metadata.get(_NAMESPACE)
    if recorded and len(recorded) <= _LONGEST:
        paths = tuple(part.split(":", 1)[0].strip() for part in recorded.split("/"))
        if len(paths) > 1:
            return dotted(paths[-2])
    return from_name(name)


@lru_cache(maxsize=4096)
def listed(text: str) -> tuple[str, ...]:
    """The strings of a Python list literal, read without evaluating it."""
    if len(text) > _LONGEST or not text.startswith("["):
        return ()
    return tuple(single or double for single, double in _QUOTED.findall(text))


@lru_cache(maxsize=4096)
def dotted(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".")[:_DEEPEST] if part)


def from_name(name: str) -> tuple[str, ...]:
    """The scope a ``/``-separated node name spells; a child that repeats its container's name replaces it."""
    path, slash, _ = name.rpartition("/")
    return _from_path(path) if slash and len(path) <= _LONGEST else ()


@lru_cache(maxsize=4096)
def _from_path(path: str) -> tuple[str, ...]:
    kept: list[str] = []
    for part in path.split("/", _DEEPEST + 1)[: _DEEPEST + 1]:
        if part and kept and part.startswith(kept[-1] + "."):
            kept[-1] = part
        elif part:
            kept.append(part)
    return tuple([piece for piece in ".".join(kept).split(".") if piece][:_DEEPEST])
