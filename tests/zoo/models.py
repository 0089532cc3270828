"""What a family of models hands over: builders, example inputs, and weights whose every element is recognisable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MANTISSAS = 2**23
"""Distinct mantissas of a float32: how many elements one model may have."""


@dataclass(frozen=True)
class Architecture:
    """One model of the zoo. ``build`` is called after the seed was set; its weights are overwritten by `coded`.

    ``inputs``   example arguments of ``forward``
    ``dynamic``  ``dynamic_shapes`` for the dynamo exporter (None: all sizes fixed)
    ``unused``   parameters ``forward`` never touches, so that no file can hold them
    ``foreign``  how many constants no module owns meet an activation like a weight does (a table of frequencies)
    """

    build: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]
    dynamic: Any = None
    unused: tuple[str, ...] = ()
    foreign: int = 0

    def module(self) -> nn.Module:
        torch.manual_seed(20)
        return coded(self.build().eval())

    def arguments(self) -> tuple[Tensor, ...]:
        torch.manual_seed(21)
        return self.inputs()


def coded(module: nn.Module) -> nn.Module:
    """Give every element of every parameter a mantissa of its own, so that it can be found again wherever it went.

    Transposes, slices, packs, stacks, gate reorders and scaling by powers of two all keep a mantissa. Batch
    normalisations get power-of-two gains and a variance that makes their scale exact: folded into a convolution they
    still only shift exponents.
    """
    generator = torch.Generator().manual_seed(22)
    normalisations = [child for child in module.modules() if isinstance(child, nn.modules.batchnorm._BatchNorm)]
    apart = {id(child.weight) for child in normalisations}
    parameters = [parameter for parameter in module.parameters() if id(parameter) not in apart]
    total = sum(parameter.numel() for parameter in parameters)
    if total > MANTISSAS // 8:
        raise ValueError(f"{total} elements are too many: an unrelated constant would look like a weight")
    mantissas = torch.randperm(MANTISSAS, generator=generator)[:total].double() / MANTISSAS + 1
    signs = torch.randint(0, 2, (total,), generator=generator) * 2 - 1
    values = (mantissas * signs).float()
    start = 0
    with torch.no_grad():
        for parameter in parameters:
            fan_in = max(parameter.numel() // max(parameter.shape[0], 1), 1) if parameter.dim() > 1 else 16
            scale = 2.0 ** -round(torch.tensor(float(fan_in)).log2().item() / 2 + 0.5)
            piece = values[start : start + parameter.numel()]
            parameter.copy_((piece * scale).view(parameter.shape))
            start += parameter.numel()
        for child in normalisations:
            gains = torch.randint(-1, 2, child.weight.shape, generator=generator)
            child.weight.copy_(2.0**gains)
            child.eps = 2.0**-17
            child.running_var.fill_(1 - 2.0**-17)
            child.running_mean.normal_(generator=generator)
    return module
