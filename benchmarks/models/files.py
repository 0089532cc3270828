"""Models written node by node: a small MLP, decoder blocks with large weights, long chains, one wide layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper

OPSET, IR_VERSION = 17, 9
FLOAT = TensorProto.FLOAT
PIECE = 1 << 22


class Random:
    """Normal numbers of standard deviation 0.02, float32, in pieces: no two neurons are alike."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(20)

    def __call__(self, shape: tuple[int, ...]) -> Iterator[bytes]:
        size = math.prod(shape)
        for start in range(0, size, PIECE):
            yield (self.generator.standard_normal(min(PIECE, size - start), np.float32) * np.float32(0.02)).tobytes()


class Store(Protocol):
    """Where weights go: called with a name and a shape, it adds a tensor and returns the name."""

    tensors: list[onnx.TensorProto]

    def __call__(self, name: str, *shape: int) -> str: ...


class Inside:
    """Random weights inside the file itself."""

    def __init__(self) -> None:
        self.tensors: list[onnx.TensorProto] = []
        self.random = Random()

    def __call__(self, name: str, *shape: int) -> str:
        self.tensors.append(helper.make_tensor(name, FLOAT, shape, b"".join(self.random(shape)), raw=True))
        return name


class Beside:
    """Weights in a file beside the model: random numbers, or holes that take no room on disk."""

    def __init__(self, path: Path, holes: bool) -> None:
        self.tensors: list[onnx.TensorProto] = []
        self.path, self.holes, self.offset = path, holes, 0
        self.random = Random()

    def __call__(self, name: str, *shape: int) -> str:
        tensor = TensorProto(name=name, data_type=FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        length = math.prod(shape) * 4
        for key, value in (("location", self.path.name), ("offset", self.offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        with open(self.path, "ab") as file:
            for piece in () if self.holes else self.random(shape):
                file.write(piece)
            file.truncate(self.offset + length)
        self.offset += length
        return name


class Nodes:
    """A list of nodes that grows; ``add`` returns the name of what the node puts out."""

    def __init__(self, scope: str = "") -> None:
        self.all: list[onnx.NodeProto] = []
        self.scope = scope

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{self.scope}/{kind}_{len(self.all)}"
        self.all.append(helper.make_node(kind, inputs, [f"{output}_out"], name=output, **attributes))
        return f"{output}_out"


def small(path: Path) -> None:
    """16 -> 32 -> 32 -> 8 neurons."""
    store, nodes, x = Inside(), Nodes(), "x"
    sizes = (16, 32, 32, 8)
    for at, (n, m) in enumerate(pairwise(sizes)):
        x = nodes.add("Gemm", x, store(f"layers.{at}.weight", m, n), store(f"layers.{at}.bias", m), transB=1)
        x = nodes.add("Relu", x) if at + 2 < len(sizes) else x
    save(path, nodes, store, {"x": (1, 16)}, x, (1, 8))


def decoder(path: Path, store: Store, width: int, hidden: int, blocks: int) -> None:
    """Blocks of a decoder: RMS norms spelled out, 32 heads, a gated MLP (as in models of 7 billion, if wide)."""
    heads, tokens = 32, 16
    nodes, x = Nodes(), "x"
    lines = {"apart": (1, tokens, heads, width // heads), "together": (1, tokens, width)}
    for name, value in lines.items():
        store.tensors.append(helper.make_tensor(name, TensorProto.INT64, [len(value)], value))
    for name, number in (("two", 2.0), ("epsilon", 1e-5), ("root", (width / heads) ** 0.5)):
        store.tensors.append(helper.make_tensor(name, FLOAT, [], [number]))

    def normed(x: str, name: str) -> str:
        mean = nodes.add("ReduceMean", nodes.add("Pow", x, "two"), axes=[-1], keepdims=1)
        size = nodes.add("Sqrt", nodes.add("Add", mean, "epsilon"))
        return nodes.add("Mul", nodes.add("Div", x, size), store(f"{name}.weight", width))

    def linear(x: str, name: str, n: int, m: int) -> str:
        return nodes.add("MatMul", x, store(f"{name}.weight", n, m))

    def split(x: str, *perm: int) -> str:
        return nodes.add("Transpose", nodes.add("Reshape", x, "apart"), perm=perm)

    for block in range(blocks):
        at = nodes.scope = f"layers.{block}"
        h = normed(x, f"{at}.input_norm")
        q, k, v = (linear(h, f"{at}.attention.{name}", width, width) for name in "qkv")
        scores = nodes.add("MatMul", split(q, 0, 2, 1, 3), split(k, 0, 2, 3, 1))
        seen = nodes.add("Softmax", nodes.add("Div", scores, "root"), axis=-1)
        mixed = nodes.add("Transpose", nodes.add("MatMul", seen, split(v, 0, 2, 1, 3)), perm=(0, 2, 1, 3))
        x = nodes.add("Add", x, linear(nodes.add("Reshape", mixed, "together"), f"{at}.attention.o", width, width))
        h = normed(x, f"{at}.mlp_norm")
        gate = linear(h, f"{at}.mlp.gate", width, hidden)
        gated = nodes.add("Mul", gate, nodes.add("Sigmoid", gate))
        up = nodes.add("Mul", gated, linear(h, f"{at}.mlp.up", width, hidden))
        x = nodes.add("Add", x, linear(up, f"{at}.mlp.down", hidden, width))
    save(path, nodes, store, {"x": (1, tokens, width)}, x, (1, tokens, width))


def chain(path: Path, size: int, width: int = 8) -> None:
    """``size`` nodes, in residual blocks of ten with two small layers each."""
    store, nodes, x = Inside(), Nodes(), "x"
    for name, value in (("apart", (1, 2, width // 2)), ("together", (1, width))):
        store.tensors.append(helper.make_tensor(name, TensorProto.INT64, [len(value)], value))
    for block in range(size // 10):
        at = nodes.scope = f"blocks.{block}"
        h = nodes.add("LayerNormalization", x, store(f"{at}.norm.weight", width), store(f"{at}.norm.bias", width))
        h = nodes.add("MatMul", h, store(f"{at}.up.weight", width, 2 * width))
        h = nodes.add("Relu", nodes.add("Add", h, store(f"{at}.up.bias", 2 * width)))
        h = nodes.add("MatMul", h, store(f"{at}.down.weight", 2 * width, width))
        h = nodes.add("Add", h, store(f"{at}.down.bias", width))
        h = nodes.add("Transpose", nodes.add("Reshape", h, "apart"), perm=(0, 2, 1))
        x = nodes.add("Add", x, nodes.add("Reshape", h, "together"))
    save(path, nodes, store, {"x": (1, width)}, x, (1, width))


def wide(path: Path, synapses: int) -> None:
    """One linear layer of 49,152 neurons: the first of GPT-3's MLP blocks, with all its 12,288 synapses, or fewer."""
    store, nodes = Beside(path.with_suffix(".data"), holes=False), Nodes()
    y = nodes.add("Gemm", "x", store("up.weight", 49_152, synapses), transB=1)
    save(path, nodes, store, {"x": (1, synapses)}, y, (1, 49_152))


def save(
    path: Path, nodes: Nodes, store: Store, inputs: dict[str, tuple[int, ...]], output: str, shape: tuple[int, ...]
) -> None:
    graph = helper.make_graph(
        nodes.all,
        "benchmark",
        [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(output, FLOAT, shape)],
        store.tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION), path)
