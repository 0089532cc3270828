"""The pictures that are kept as golden DOT: every view in both themes, the wide forms once."""

from __future__ import annotations

from collections.abc import Mapping

from docs.draw import Picture

VIEWS: Mapping[str, Picture] = {
    "rows": Picture("kv_mlp", "keys", "rows"),
    "columns": Picture("kv_mlp", "values", "columns"),
    "pair": Picture("kv_mlp", "keys", "pair"),
    "mlp": Picture("mlp_four_layers", None, "mlp"),
    "conv": Picture("conv", "stem", "conv"),
    "recurrent": Picture("lstm", "lstm", "recurrent", {"neurons": "0:2"}),
    "attention": Picture("gpt_block", "attn.c_attn", "attention"),
    "network": Picture("transformer", None, "network"),
    "circuit": Picture("transformer", "blocks.1.mlp.up:7", "circuit", {"down": 2}),
}

WIDE: Mapping[str, Picture] = {
    "rows-wide": Picture("transformer", "blocks.0.mlp.down", "rows", {"max_neurons": 4}),
    "columns-wide": Picture("transformer", "blocks.0.mlp.down", "columns", {"max_neurons": 4}),
    "columns-at": Picture("kv_mlp", "values", "columns", {"at": (-1.1, 0.4, -0.8)}),
    "conv-grouped": Picture("conv", "grouped", "conv"),
    "recurrent-wide": Picture("lstm", "lstm", "recurrent", {"max_synapses": 4}),
    "attention-shared": Picture("shared_heads", "attention.q", "attention"),
    "pair-weights": Picture("mlp_two_layers", "layers.0", "pair", {"perspective": "weights", "font_size": 10}),
}
