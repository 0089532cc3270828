"""The model and the data of docs/probe.md: a small network that learns to read scikit-learn's digits in seconds.

    python docs/digits.py FOLDER

writes ``digits.onnx``, ``images.npz`` (the images it never saw) and ``strokes.npz`` (what is to be seen in them).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HIDDEN = 32
LOOPS = (0, 6, 8, 9)
INK = 8
"""From how much ink on (0 to 16) a pixel belongs to a stroke."""


def trained() -> tuple[MLPClassifier, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """A network of 64 pixels, 32 hidden neurons and 10 digits, with images and digits it was not trained on."""
    pixels, digits = load_digits(return_X_y=True)
    pixels = pixels.astype(np.float32) / 16
    seen, unseen, digits_seen, digits_unseen = train_test_split(
        pixels, digits, test_size=0.5, random_state=0, stratify=digits
    )
    model = MLPClassifier((HIDDEN,), alpha=1e-3, max_iter=1000, random_state=0)
    return model.fit(seen, digits_seen), unseen, digits_unseen.astype(np.int64)


def as_onnx(model: MLPClassifier) -> onnx.ModelProto:
    weights = {
        f"{name}.{what}": array.astype(np.float32)
        for name, kernel, bias in zip(("hidden", "digits"), model.coefs_, model.intercepts_, strict=True)
        for what, array in (("weight", np.ascontiguousarray(kernel.T)), ("bias", bias))
    }
    nodes = [
        helper.make_node("Gemm", ["pixels", "hidden.weight", "hidden.bias"], ["sums"], "hidden", transB=1),
        helper.make_node("Relu", ["sums"], ["rates"], "relu"),
        helper.make_node("Gemm", ["rates", "digits.weight", "digits.bias"], ["logits"], "digits", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["images", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["images", 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def strokes(images: npt.NDArray[np.float32], digits: npt.NDArray[np.int64]) -> Mapping[str, npt.NDArray[Any]]:
    """What is to be seen in ``images``, (images, 64): none of it was asked for when the network was trained.

    ``loop``: a closed line, by the digit; ``top_bar``: a stroke along the upper edge, by the pixels; ``ink``: how much
    of it there is, a number.
    """
    pictures = images.reshape(-1, 8, 8) * 16
    upper = (pictures[:, :2] >= INK).any(axis=1).sum(axis=1)
    return {"loop": np.isin(digits, LOOPS), "top_bar": upper >= 5, "ink": images.sum(axis=1)}


def write(folder: Path) -> float:
    """Writes the three files; returns the share of digits it reads rightly among the images it was not trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    model, images, digits = trained()
    onnx.save(as_onnx(model), folder / "digits.onnx")
    np.savez(folder / "images.npz", pixels=images)
    np.savez(folder / "strokes.npz", **strokes(images, digits))
    return float(model.score(images, digits))


if __name__ == "__main__":
    right = write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print(f"digits.onnx reads {100 * right:.1f} % of the images it was not trained on")
