"""``python -m docs.draw [NAME ...]``: draw the pictures of docs/pictures, the same bytes every time."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fixtures.builders import BUILDERS, Graph
from graphneurons import render

PICTURES = Path(__file__).parent / "pictures"
FIXTURES = Path(__file__).parent.parent / "fixtures"


def mlp_two_layers() -> onnx.ModelProto:
    """Two neurons that read three inputs each, and what they write to three outputs."""
    graph = Graph("mlp_two_layers")
    keys = np.array([[0.8, -0.5, 0.3], [-0.4, 0.6, 0.9]], np.float32)
    values = np.array([[0.7, -0.3], [0.2, 0.9], [-0.8, 0.4]], np.float32)
    hidden = graph.op("Gemm", "layers.0", "x", graph.constant("layers.0.weight", keys), transB=1)
    hidden = graph.op("Relu", "hidden", hidden)
    out = graph.op("Gemm", "layers.1", hidden, graph.constant("layers.1.weight", values), transB=1)
    return graph.model({"x": ("batch", 3)}, out, ("batch", 3))


def wide() -> onnx.ModelProto:
    """A layer of 1,536 neurons that read 768 inputs each, of very different size, some of them dead."""
    graph = Graph("wide")
    random = np.random.default_rng(11)
    weights = random.standard_normal((1536, 768)) * np.exp(0.45 * random.standard_normal((1536, 1))) * 0.05
    weights += 0.06 * np.sin(np.arange(768) / 40 + random.uniform(0, 6, (1536, 1))) * random.random((1536, 1))
    weights[::97] = 0
    out = graph.op("Gemm", "mlp.up", "hidden", graph.constant("mlp.up.weight", weights.astype(np.float32)), transB=1)
    return graph.model({"hidden": ("batch", 768)}, out, ("batch", 1536))


def shared_heads() -> onnx.ModelProto:
    """Cross-attention of four query heads that share two key and value heads: queries from one stream, keys and values
    from another."""
    graph = Graph("shared_heads")

    def linear(x: str, name: str, into: int, out: int) -> str:
        return graph.op("MatMul", name, x, graph.weight(f"{name}.weight", into, out))

    inputs = (linear("decoder", "attention.q", 16, 16), linear("encoder", "attention.k", 16, 8))
    inputs += (linear("encoder", "attention.v", 16, 8),)
    mixed = graph.op("Attention", "attention.mixed", *inputs, q_num_heads=4, kv_num_heads=2)
    model = graph.model(
        {"decoder": (1, 5, 16), "encoder": (1, 7, 16)}, linear(mixed, "attention.o", 16, 16), (1, 5, 16)
    )
    model.opset_import[0].version = 23
    model.ir_version = 11
    return model


MADE = {one.__name__: one for one in (mlp_two_layers, wide, shared_heads)}


@dataclass(frozen=True)
class Picture:
    """One file: the fixture or the model made here, the layer, the view and its options."""

    model: str
    layer: str | None = None
    view: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


DRAWN: Mapping[str, Picture] = {
    "mlp_two_layers": Picture("mlp_two_layers", "layers.0", "pair"),
    "mlp_four_layers": Picture("mlp_four_layers", "layers.0", "mlp"),
    "rows": Picture("kv_mlp", "keys", "rows"),
    "kv_rows": Picture("kv_mlp", "keys", "pair", {"perspective": "neurons"}),
    "kv_columns": Picture("kv_mlp", "values", "columns", {"at": (-1.1, 0.4, -0.8)}),
    "wide_rows": Picture("wide", "mlp.up", "rows", {"max_neurons": 6}),
    "wide_columns": Picture("wide", "mlp.up", "columns", {"max_neurons": 6, "theme": "dark"}),
    "conv": Picture("conv", "stem", "conv"),
    "lstm": Picture("lstm", "lstm", "recurrent"),
    "attention": Picture("gpt_block", "attn.c_attn", "attention"),
    "shared_heads": Picture("shared_heads", "attention.q", "attention", {"theme": "dark"}),
    "gpt_block": Picture("gpt_block"),
    "network": Picture("transformer", options={"theme": "dark"}),
    "circuit": Picture("transformer", "blocks.1.mlp.up:7", "circuit", {"down": 2}),
}


def model_file(name: str, folder: Path) -> Path:
    """The committed fixture ``name``, or a model made here, written to ``folder``."""
    if name not in MADE:
        return FIXTURES / f"{name}.onnx"
    path = folder / f"{name}.onnx"
    path.write_bytes(MADE[name]().SerializeToString(deterministic=True))
    return path


def main(names: list[str]) -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in names or list(DRAWN):
            picture = DRAWN[name]
            path = model_file(picture.model, Path(folder))
            drawing = render(path, picture.layer, picture.view, engine="graphviz-pure", **picture.options)
            drawing.save(PICTURES / f"{name}.svg")
            print(f"{(PICTURES / f'{name}.svg').stat().st_size:8,} bytes  docs/pictures/{name}.svg")


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(DRAWN)
    if unknown or not BUILDERS:
        sys.exit(f"no picture is called {', '.join(sorted(unknown))}; there are {', '.join(DRAWN)}")
    main(sys.argv[1:])
