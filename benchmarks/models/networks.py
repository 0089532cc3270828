"""PyTorch modules with random weights: the architectures the papers describe, at full size."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

Network = tuple[nn.Module, tuple[Tensor, ...]]
"""A module, and arguments to call it with."""


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class Bottleneck(nn.Module):
    """He et al. 2015, with the stride in the 3 x 3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.short = nn.Identity() if same else nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.bn1(self.conv1(x)))
        h = functional.relu(self.bn2(self.conv2(h)))
        return functional.relu(self.bn3(self.conv3(h)) + self.short(x))


def resnet50() -> Network:
    """He et al. 2015: 25.6 million parameters."""
    blocks, inputs = [], 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for at in range(depth):
            blocks.append(Bottleneck(inputs, 64 << stage, 2 if at == 0 and stage else 1))
            inputs = 256 << stage
    stem = (conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))
    return nn.Sequential(*stem, *blocks, *head), (torch.zeros(1, 3, 224, 224),)


class Dense(nn.Module):
    """Huang et al. 2016: what one layer adds is put beside all there was."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, 128, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), conv(128, 32, 3)

    def forward(self, *before: Tensor) -> Tensor:
        h = self.conv1(functional.relu(self.norm1(torch.cat(before, 1))))
        return self.conv2(functional.relu(self.norm2(h)))


class DenseBlock(nn.Module):
    def __init__(self, inputs: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Dense(inputs + 32 * at) for at in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.layers:
            found.append(layer(*found))
        return torch.cat(found, 1)


def densenet121() -> Network:
    """Huang et al. 2016: 8.0 million parameters."""
    parts: list[nn.Module] = [conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    width, depths = 64, (6, 12, 24, 16)
    for depth in depths:
        parts.append(DenseBlock(width, depth))
        width += 32 * depth
        parts += [nn.BatchNorm2d(width), nn.ReLU()]
        if depth != depths[-1]:
            parts += [conv(width, width // 2, 1), nn.AvgPool2d(2)]
            width //= 2
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000))
    return nn.Sequential(*parts, *head), (torch.zeros(1, 3, 224, 224),)


class Encoder(nn.Module):
    """One block of Dosovitskiy et al. 2020."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 197, width) * 0.02)
        self.blocks = nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit_b() -> Network:
    """Dosovitskiy et al. 2020, ViT-B/16: 86.6 million parameters."""
    return VisionTransformer(768, 12, 12), (torch.zeros(1, 3, 224, 224),)


def gpt2() -> Network:
    """Radford et al. 2019, the smallest: 124 million parameters."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokens = torch.ones(1, 16, dtype=torch.long)
    return GPT2LMHeadModel(GPT2Config(use_cache=False)), (tokens,)


class Block(nn.Module):
    """One block of Brown et al. 2020, with attention's four linears apart."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm_1(x)
        q, k, v = (
            part(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        x = x + self.output(functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


def gpt3(blocks: int = 96) -> Network:
    """Brown et al. 2020: 175 billion parameters in 96 blocks, on the meta device, where they need no memory."""
    width, heads = 12_288, 96
    with torch.device("meta"):
        module = nn.Sequential(nn.Embedding(50_257, width), *(Block(width, heads) for _ in range(blocks)))
        return module, (torch.zeros(1, 16, dtype=torch.long),)


def gpt3_eighth() -> Network:
    return gpt3(12)


def gpt3_small() -> Network:
    return gpt3(1)


def tiny() -> Network:
    """What everything is warmed up with."""
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return nn.Sequential(*layers), (torch.zeros(1, 3, 8, 8),)


NETWORKS: dict[str, Callable[[], Network]] = {
    made.__name__: made for made in (tiny, resnet50, densenet121, vit_b, gpt2, gpt3, gpt3_eighth, gpt3_small)
}


def network(name: str) -> Network:
    torch.manual_seed(20)
    module, arguments = NETWORKS[name]()
    return module.eval(), arguments


def export(name: str, how: str, path: Path) -> None:
    """Write the network ``name`` with PyTorch's exporter ``how`` ("dynamo" or "legacy")."""
    module, arguments = network(name)
    if (name, how) == ("gpt2", "legacy"):
        # Without a mask of its own transformers computes one in a way the legacy exporter refuses.
        module, arguments = Masked(module), (*arguments, torch.ones(1, 16, dtype=torch.long))
    options = {"dynamo": {"dynamo": True, "external_data": False, "verbose": False}}
    options["legacy"] = {"dynamo": False, "opset_version": 17}
    torch.backends.mha.set_fastpath_enabled(False)
    with redirect_stdout(StringIO()):
        torch.onnx.export(module, arguments, str(path), **options[how])


class Masked(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.module(input_ids=tokens, attention_mask=mask).logits
