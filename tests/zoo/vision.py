"""Image models, written out in a few lines each at reduced widths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.zoo.models import Architecture
from tests.zoo.small import tensors


class Residual(nn.Module):
    """``x + f(x)``, with a projection where the shapes differ."""

    def __init__(self, inner: nn.Module, project: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.project = project or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x) + self.inner(x)


def convolved(into: int, out: int, size: int = 1, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(into, out, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, nn.ReLU()) if act else nn.Sequential(*layers)


def bottleneck(into: int, inner: int, stride: int) -> nn.Module:
    out = 4 * inner
    path = nn.Sequential(convolved(into, inner), convolved(inner, inner, 3, stride), convolved(inner, out, act=False))
    project = convolved(into, out, 1, stride, act=False) if stride > 1 or into != out else None
    return nn.Sequential(Residual(path, project), nn.ReLU())


def resnet50() -> nn.Module:
    layers: list[nn.Module] = [convolved(3, 6, 7, 2), nn.MaxPool2d(3, 2, 1)]
    into = 6
    for inner, blocks, stride in ((6, 3, 1), (10, 4, 2), (14, 6, 2), (18, 3, 2)):
        for index in range(blocks):
            layers.append(bottleneck(into, inner, stride if index == 0 else 1))
            into = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 10))


class Dense(nn.Module):
    """Batch normalisation comes before the convolution, and everything is concatenated."""

    def __init__(self, into: int, growth: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.BatchNorm2d(into), nn.ReLU(), nn.Conv2d(into, 3 * growth, 1, bias=False),
            nn.BatchNorm2d(3 * growth), nn.ReLU(), nn.Conv2d(3 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.path(x)], 1)


def densenet() -> nn.Module:
    layers: list[nn.Module] = [convolved(3, 8, 3, 2)]
    width = 8
    for blocks in (3, 4):
        for _ in range(blocks):
            layers.append(Dense(width, 5))
            width += 5
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1), nn.AvgPool2d(2)]
        width //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * 4, 7))


class Shuffle(nn.Module):
    """ShuffleNetV2's unit. 58 channels split into 2 x 29: repeated shuffles cut across any factor of 58."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        half = out // 2
        self.left = (
            nn.Sequential(convolved(into, into, 3, 2, into, act=False), convolved(into, half))
            if stride > 1
            else nn.Identity()
        )
        self.right = nn.Sequential(
            convolved(into if stride > 1 else half, half),
            convolved(half, half, 3, stride, half, act=False),
            convolved(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1) if self.stride == 1 else (x, x)
        x = torch.cat([self.left(left), self.right(right)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet() -> nn.Module:
    return nn.Sequential(
        convolved(3, 24, 3, 2),
        Shuffle(24, 58, 2),
        Shuffle(58, 58, 1),
        Shuffle(58, 58, 1),
        Shuffle(58, 116, 2),
        Shuffle(116, 116, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(116, 9),
    )


class UNet(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (6, 10, 14)) -> None:
        super().__init__()
        self.down = nn.ModuleList(convolved(into, out, 3) for into, out in zip((3, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(into, out, 2, 2) for into, out in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.mix = nn.ModuleList(convolved(2 * out, out, 3) for out in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for index, down in enumerate(self.down):
            x = down(x)
            if index < len(self.down) - 1:
                kept.append(x)
                x = nn.functional.max_pool2d(x, 2)
        for up, mix in zip(self.up, self.mix, strict=True):
            x = mix(torch.cat([up(x), kept.pop()], 1))
        return self.head(x)


class ConvNeXtBlock(nn.Module):
    """A linear in NHWC between two permutes, a layer scale per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.empty(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.mix(x).permute(0, 2, 3, 1))
        y = self.narrow(nn.functional.gelu(self.widen(y)))
        return x + self.scale * y.permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 10, 4, 4),
        ConvNeXtBlock(10),
        nn.GroupNorm(1, 10),
        nn.Conv2d(10, 14, 2, 2),
        ConvNeXtBlock(14),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(14),
        nn.Linear(14, 5),
    )


class Windows(nn.Module):
    """Swin's attention in (rolled) windows, with a learned bias table picked by a constant index."""

    def __init__(self, width: int, heads: int, window: int, roll: int) -> None:
        super().__init__()
        self.heads, self.window, self.roll = heads, window, roll
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.biases = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        steps = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = (steps[:, :, None] - steps[:, None, :]) + window - 1
        self.register_buffer("index", apart[0] * (2 * window - 1) + apart[1])

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        size, heads = self.window, self.heads
        y = torch.roll(self.norm(x), (-self.roll, -self.roll), (1, 2)) if self.roll else self.norm(x)
        y = y.view(n, h // size, size, w // size, size, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, c)
        q, k, v = self.qkv(y).reshape(-1, size * size, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
        scores = q * (c // heads) ** -0.5 @ k.transpose(-2, -1)
        scores = scores + self.biases[self.index.view(-1)].view(size**2, size**2, heads).permute(2, 0, 1)
        y = self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, size * size, c))
        y = y.view(n, h // size, w // size, size, size, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return x + (torch.roll(y, (self.roll, self.roll), (1, 2)) if self.roll else y)


class Merging(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduce(self.norm(torch.cat(corners, -1)))


class Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 12, 4, 4)
        self.stages = nn.Sequential(
            Windows(12, 3, 4, 0),
            Residual(feed(12, 28)),
            Windows(12, 3, 4, 2),
            Residual(feed(12, 28)),
            Merging(12),
            Windows(24, 3, 2, 1),
            Residual(feed(24, 52)),
        )
        self.head = nn.Linear(24, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.embed(x).permute(0, 2, 3, 1)).mean((1, 2)))


def feed(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


class Turned(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


def mixer() -> nn.Module:
    """Tokens are mixed by linears over the transposed tensor: their neurons are not channels."""
    return nn.Sequential(
        nn.Conv2d(3, 10, 4, 4),
        nn.Flatten(2),
        Turned(nn.Sequential(Residual(Turned(feed(16, 22))), Residual(feed(10, 26)), nn.LayerNorm(10))),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(10, 6),
    )


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, inner, 1)
        self.excite = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(gate)


def inverted(into: int, inner: int, out: int, stride: int) -> nn.Module:
    path = nn.Sequential(
        nn.Conv2d(into, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.Hardswish(),
        nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.Hardswish(),
        SqueezeExcite(inner, inner // 4), nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out),
    )  # fmt: skip
    return Residual(path) if stride == 1 and into == out else path


def mobilenet() -> nn.Module:
    return nn.Sequential(
        convolved(3, 8, 3, 2),
        inverted(8, 20, 12, 2),
        inverted(12, 28, 12, 1),
        inverted(12, 32, 18, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(18, 24),
        nn.Hardswish(),
        nn.Dropout(),
        nn.Linear(24, 10),
    )


def image(side: int) -> tuple[Tensor, ...]:
    return tensors((2, 3, side, side))


ARCHITECTURES: dict[str, Architecture] = {
    "resnet50": Architecture(resnet50, lambda: image(64)),
    "resnet50_dynamic": Architecture(resnet50, lambda: image(64), dynamic=({0: "batch"},)),
    "densenet": Architecture(densenet, lambda: image(16)),
    "shufflenet": Architecture(shufflenet, lambda: image(32)),
    "unet": Architecture(UNet, lambda: image(16)),
    "convnext": Architecture(convnext, lambda: image(32)),
    "swin": Architecture(Swin, lambda: image(32)),
    "mixer": Architecture(mixer, lambda: image(16)),
    "mobilenet": Architecture(mobilenet, lambda: image(32)),
}
