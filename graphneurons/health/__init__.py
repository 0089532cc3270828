"""The health of weights: statistics per neuron along the right axis, in one streaming pass over the bytes."""

from graphneurons.health.scanning import scan
from graphneurons.health.statistics import (
    Channels,
    Duplicates,
    Health,
    LayerHealth,
    ModulatorHealth,
    Skipped,
    Statistics,
    WeightHealth,
)

__all__ = [
    "Channels",
    "Duplicates",
    "Health",
    "LayerHealth",
    "ModulatorHealth",
    "Skipped",
    "Statistics",
    "WeightHealth",
    "scan",
]
