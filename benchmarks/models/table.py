"""The table of models: what each is, how it is made, and how large it must come out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """``steps``: a function of `benchmarks.models.__main__` and its arguments; ``megabytes``: least and most."""

    steps: tuple[str | int, ...]
    megabytes: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Model:
    """``quick``: what stands in for it under ``--quick``; None: itself."""

    name: str
    about: str
    full: Recipe
    quick: Recipe | None = None

    def recipe(self, quick: bool) -> Recipe:
        return self.quick or self.full if quick else self.full


def _residual(size: int, megabytes: tuple[float, float]) -> Model:
    """Under ``--quick`` a tenth of the nodes."""
    least, most = megabytes
    full, quick = Recipe(("chain", size), megabytes), Recipe(("chain", size // 10), (least / 10, most / 10))
    return Model(f"nodes_{size}", f"residual blocks, {size:,} nodes", full, quick)


MODELS = (
    Model("small", "MLP of 3 layers, 72 neurons", Recipe(("small",), (0, 0.1))),
    Model("resnet50", "ResNet-50, dynamo exporter", Recipe(("export", "resnet50", "dynamo"), (100, 105))),
    Model("resnet50_legacy", "ResNet-50, legacy exporter", Recipe(("export", "resnet50", "legacy"), (100, 105))),
    Model("densenet121", "DenseNet-121, dynamo exporter", Recipe(("export", "densenet121", "dynamo"), (30, 35))),
    Model("vit_b", "ViT-B/16, dynamo exporter", Recipe(("export", "vit_b", "dynamo"), (340, 350))),
    Model("gpt2", "GPT-2 small, dynamo exporter", Recipe(("export", "gpt2", "dynamo"), (490, 505))),
    Model("gpt2_legacy", "GPT-2 small, legacy exporter", Recipe(("export", "gpt2", "legacy"), (490, 660))),
    Model(
        "single",
        "two decoder blocks of a 7B model's width, weights inside the file",
        Recipe(("inside", 4096, 11008, 2), (1610, 1630)),
        Recipe(("inside", 1024, 2752, 2), (100, 105)),
    ),
    Model("single_tiny", "the same graph, 128 wide", Recipe(("inside", 128, 344, 2), (1, 2))),
    Model(
        "external",
        "ten decoder blocks of a 7B model's width, external data of holes",
        Recipe(("holes", 4096, 11008, 10), (8080, 8110)),
    ),
    *(_residual(*each) for each in ((5000, (1, 2)), (10_000, (2, 4)), (20_000, (4, 8)), (50_000, (10, 20)))),
    Model(
        "wide",
        "one linear layer of 49,152 neurons x 12,288 synapses, external data",
        Recipe(("wide", 12_288), (2410, 2420)),
        Recipe(("wide", 768), (150, 152)),
    ),
)

NETWORKS = {"gpt3": ("gpt3", "gpt3_eighth")}
"""Names of modules that ``--quick`` replaces: (full, quick)."""
