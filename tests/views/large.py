"""A model as large as one of 7 billion parameters, whose weights are a hole in a file with a few numbers in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

WIDTH, HIDDEN, BLOCKS, KEYS = 4096, 11008, 32, 1024
OPSET = 18


class Sparse:
    """Tensors one after the other in a file that takes no room on disk."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.name = folder / f"{name}.data", name
        self.offset = 0
        self.tensors: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int, filled: int = 0) -> str:
        """A float32 tensor of zeros, but for its first ``filled`` rows."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        length = int(np.prod(shape, dtype=np.int64)) * 4
        for key, value in (("location", self.path.name), ("offset", self.offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        with open(self.path, "r+b" if self.path.exists() else "wb") as file:
            file.truncate(self.offset + length)
            if filled:
                file.seek(self.offset)
                values = np.random.default_rng(7).standard_normal((filled, *shape[1:]), dtype=np.float32)
                file.write(values.tobytes())
        self.offset += length
        return name


def wide(folder: Path, stored_in_out: bool = False) -> Path:
    """One linear layer of 49,152 neurons x 12,288 synapses."""
    data = Sparse(folder, "wide")
    shape = (12288, 49152) if stored_in_out else (49152, 12288)
    data.weight("up.weight", *shape, filled=40)
    node = (
        helper.make_node("MatMul", ["x", "up.weight"], ["y"], name="/up/MatMul")
        if stored_in_out
        else helper.make_node("Gemm", ["x", "up.weight"], ["y"], name="/up/Gemm", transB=1)
    )
    return saved(folder / "wide.onnx", [node], data, {"x": (1, 12288)}, {"y": (1, 49152)})


def seven_billion(folder: Path) -> Path:
    """32 blocks of attention with shared keys and values and a gated MLP: 7 G parameters, 27 GB of holes."""
    data = Sparse(folder, "seven")
    nodes: list[onnx.NodeProto] = []

    def op(type: str, scope: str, output: str, *inputs: str, **attributes: object) -> str:
        name = f"/{scope.replace('.', '/')}/{type}_{len(nodes)}"
        nodes.append(helper.make_node(type, inputs, [output], name=name, **attributes))
        return output

    def linear(x: str, name: str, into: int, out: int) -> str:
        return op("MatMul", name, name, x, data.weight(f"{name}.weight", into, out))

    x = op("Gather", "embed", "embed", data.weight("embed.weight", 32000, WIDTH), "tokens")
    for number in range(BLOCKS):
        at = f"layers.{number}"
        q = linear(x, f"{at}.attention.q", WIDTH, WIDTH)
        k, v = (linear(x, f"{at}.attention.{one}", WIDTH, KEYS) for one in "kv")
        inputs = [q, k, v]
        attributes = {"num_heads": 32, "kv_num_heads": 8, "domain": "com.microsoft"}
        mixed = op(
            "GroupQueryAttention", f"{at}.attention", f"{at}.mixed", *inputs, "", "", "lengths", "total", **attributes
        )
        x = op("Add", at, f"{at}.first", x, linear(mixed, f"{at}.attention.o", WIDTH, WIDTH))
        gate = linear(x, f"{at}.mlp.gate", WIDTH, HIDDEN)
        gated = op("Mul", f"{at}.mlp", f"{at}.silu", gate, op("Sigmoid", f"{at}.mlp", f"{at}.sigmoid", gate))
        up = op("Mul", f"{at}.mlp", f"{at}.gated", gated, linear(x, f"{at}.mlp.up", WIDTH, HIDDEN))
        x = op("Add", at, f"{at}.second", x, linear(up, f"{at}.mlp.down", HIDDEN, WIDTH))
    linear(x, "head", WIDTH, 32000)
    inputs = {"tokens": (1, 8), "lengths": (1, 1), "total": (1,)}
    return saved(folder / "seven.onnx", nodes, data, inputs, {"head": (1, 8, 32000)})


def saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    data: Sparse,
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
) -> Path:
    kinds = {"tokens": TensorProto.INT64, "lengths": TensorProto.INT32, "total": TensorProto.INT32}
    graph = helper.make_graph(
        nodes,
        "large",
        [
            helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), dims)
            for name, dims in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        data.tensors,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
    return path
