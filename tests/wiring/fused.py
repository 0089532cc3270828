"""Graphs of onnxruntime's own ops, which carry projections, packings and tables inside them."""

from __future__ import annotations

import numpy as np

from tests.wiring.graphs import Graph, node, numbers, rows

MICROSOFT = "com.microsoft"


def uneven_attention() -> Graph:
    """Attention with its projections inside; values are narrower than queries and keys."""
    nodes = [
        node("Attention", ["a", "w", "bias"], ["b"], domain=MICROSOFT, num_heads=3, qkv_hidden_sizes=[12, 12, 6]),
    ]
    return rows(8, 6, nodes, w=numbers(8, 30), bias=numbers(30))


def even_attention() -> Graph:
    nodes = [node("Attention", ["a", "w", "bias"], ["b"], domain=MICROSOFT, num_heads=3)]
    return rows(8, 12, nodes, w=numbers(8, 36), bias=numbers(36))


def grouped_queries(packed: bool) -> Graph:
    """GroupQueryAttention: four query heads on two key heads of width 8."""
    lengths = {"lengths": np.full((2, 1), 5, np.int32), "longest": np.array([6], np.int32)}
    if packed:
        inputs = ["a", "", "", "", "", "lengths", "longest"]
        nodes = [node("GroupQueryAttention", inputs, ["b", "", ""], domain=MICROSOFT, num_heads=4, kv_num_heads=2)]
        return rows(64, 32, nodes, **lengths)
    nodes = [
        node("MatMul", ["x", "wk"], ["k"]),
        node("MatMul", ["x", "wv"], ["v"]),
        node(
            "GroupQueryAttention",
            ["a", "k", "v", "", "", "lengths", "longest"],
            ["b", "", ""],
            domain=MICROSOFT,
            num_heads=4,
            kv_num_heads=2,
        ),
    ]
    return rows(32, 32, nodes, wk=numbers(7, 16), wv=numbers(7, 16, seed=2), **lengths)


def rotary() -> Graph:
    nodes = [
        node("RotaryEmbedding", ["a", "places", "cos", "sin"], ["b"], domain=MICROSOFT, num_heads=2),
    ]
    angles = np.arange(8)[:, None] * np.array([1.0, 0.3, 0.1, 0.03])
    places = np.tile(np.arange(6), (2, 1))
    return rows(
        16, 16, nodes, places=places, cos=np.cos(angles).astype(np.float32), sin=np.sin(angles).astype(np.float32)
    )


def embedded() -> Graph:
    """EmbedLayerNormalization: words, places and kinds, added and normalised in one op."""
    nodes = [
        node("Cast", ["x"], ["ids"], to=6),
        node(
            "EmbedLayerNormalization",
            ["ids", "ids", "words", "places", "kinds", "gamma", "beta"],
            ["e", ""],
            domain=MICROSOFT,
        ),
        node("MatMul", ["e", "second"], ["y"]),
    ]
    tables = {"words": numbers(9, 8), "places": numbers(9, 8, seed=1), "kinds": numbers(9, 8, seed=2)}
    return Graph(
        nodes, {**tables, "gamma": numbers(8), "beta": numbers(8, seed=1), "second": numbers(8, 5)}, {"x": (2, 6)}
    )


def dynamic_lstm() -> Graph:
    """DynamicQuantizeLSTM: its weights are stored the other way round."""
    integers = np.random.default_rng(0)
    nodes = [
        node(
            "DynamicQuantizeLSTM",
            ["a", "w", "r", "", "", "", "", "", "ws", "wz", "rs", "rz"],
            ["out", "h"],
            domain=MICROSOFT,
            hidden_size=4,
            direction="bidirectional",
        ),
        node("Transpose", ["out"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "shape"], ["b"]),
    ]
    stored = {
        "w": integers.integers(-99, 99, (2, 6, 16), dtype=np.int8),
        "r": integers.integers(-99, 99, (2, 4, 16), dtype=np.int8),
        **{name: np.full(2, 0.02, np.float32) for name in ("ws", "rs")},
        **{name: np.zeros(2, np.int8) for name in ("wz", "rz")},
    }
    return rows(6, 8, nodes, shape=[0, 0, -1], **stored)


def fused_convolution() -> Graph:
    """FusedConv puts out what its activation makes of the sums."""
    nodes = [
        node("Conv", ["x", "first"], ["a"]),
        node("FusedConv", ["a", "w", "bias"], ["b"], domain=MICROSOFT, activation="Relu"),
        node("Conv", ["b", "second"], ["y"]),
    ]
    weights = {"first": numbers(4, 3, 1, 1), "w": numbers(6, 4, 1, 1), "bias": numbers(6)}
    return Graph(nodes, {**weights, "second": numbers(5, 6, 1, 1)})


FUSED: dict[str, Graph] = {
    "uneven_attention": uneven_attention(),
    "even_attention": even_attention(),
    "grouped_queries": grouped_queries(packed=False),
    "packed_grouped_queries": grouped_queries(packed=True),
    "rotary_op": rotary(),
    "embedded": embedded(),
    "dynamic_lstm": dynamic_lstm(),
    "fused_convolution": fused_convolution(),
}
