"""The pictures that are kept as golden DOT: every view in both themes, the wide forms once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docs.draw import FIXTURES, MADE


@dataclass(frozen=True)
class Case:
    model: str
    layer: str | None = None
    view: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


VIEWS: Mapping[str, Case] = {
    "rows": Case("kv_mlp", "keys", "rows"),
    "columns": Case("kv_mlp", "values", "columns"),
    "pair": Case("kv_mlp", "keys", "pair"),
    "mlp": Case("mlp_four_layers", None, "mlp"),
    "conv": Case("conv", "stem", "conv"),
    "recurrent": Case("lstm", "lstm", "recurrent", {"neurons": "0:2"}),
    "attention": Case("gpt_block", "attn.c_attn", "attention"),
    "network": Case("transformer", None, "network"),
    "circuit": Case("transformer", "blocks.1.mlp.up:7", "circuit", {"down": 2}),
}

WIDE: Mapping[str, Case] = {
    "rows-wide": Case("transformer", "blocks.0.mlp.down", "rows", {"max_neurons": 4}),
    "columns-wide": Case("transformer", "blocks.0.mlp.down", "columns", {"max_neurons": 4}),
    "columns-at": Case("kv_mlp", "values", "columns", {"at": (-1.1, 0.4, -0.8)}),
    "conv-grouped": Case("conv", "grouped", "conv"),
    "recurrent-wide": Case("lstm", "lstm", "recurrent", {"max_synapses": 4}),
    "attention-shared": Case("shared_heads", "attention.q", "attention"),
    "pair-weights": Case("mlp_two_layers", "layers.0", "pair", {"perspective": "weights", "font_size": 10}),
}


def model_path(name: str, folder: Path) -> Path:
    if name not in MADE:
        return FIXTURES / f"{name}.onnx"
    path = folder / f"{name}.onnx"
    path.write_bytes(MADE[name]().SerializeToString(deterministic=True))
    return path
