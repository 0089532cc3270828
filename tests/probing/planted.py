"""Neurons that are known to carry a concept: alone, only together, only as XOR."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from graphneurons.probing.records import Activations

NEURONS = 20


def planted(rows: int = 400, seed: int = 0) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.generic]]]:
    """Activations (rows, 20), and the concepts planted in them.

    ``alone``     neuron 0 responds more, neuron 1 less
    ``together``  neuron 2 holds it under noise eight times as strong, which neuron 3 holds too: only 2 - 3 shows it
    ``xor``       the signs of neurons 5 and 6 differ
    ``level``     a number: neuron 8 holds it, neuron 9 a part of it
    ``product``   a number: neuron 5 times neuron 6
    ``kind``      three classes: what neuron 10 exceeds
    ``nothing``   no neuron knows
    """
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, NEURONS))
    alone, together = random.random(rows) < 0.4, random.random(rows) < 0.5
    values[:, 0] += 1.5 * alone
    values[:, 1] -= 1.2 * alone
    values[:, 2] = np.where(together, 1, -1) + 8 * values[:, 3]
    labels: dict[str, npt.NDArray[np.generic]] = {
        "alone": alone,
        "together": together,
        "xor": (values[:, 5] > 0) != (values[:, 6] > 0),
        "level": 2 * values[:, 8] + values[:, 9] + random.normal(size=rows),
        "product": values[:, 5] * values[:, 6],
        "kind": np.array(["low", "middle", "high"])[
            np.digitize(values[:, 10] + 0.4 * random.normal(size=rows), [-0.4, 0.4])
        ],
        "nothing": random.random(rows) < 0.5,
    }
    return values.astype(np.float32), labels


def collected(values: npt.NDArray[np.float32], rows: npt.NDArray[np.int64] | None = None) -> Activations:
    return Activations("layer", "value", None, "mean", values, np.arange(len(values)) if rows is None else rows)
