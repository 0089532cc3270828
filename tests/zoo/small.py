"""Small models, each with one thing that is easily labelled wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.zoo.models import Architecture


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(11, 17), nn.ReLU(), nn.Linear(17, 13), nn.GELU(), nn.Linear(13, 5))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 14, 3, bias=False),
        nn.BatchNorm2d(14),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(14, 6),
    )


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(8, 12, 1),
        nn.Conv2d(12, 20, 3, groups=4),
        nn.ReLU(),
        nn.Conv2d(20, 20, 3, padding=1, groups=20),
        nn.Conv2d(20, 40, (3, 1), groups=20, bias=False),
        nn.SiLU(),
        nn.Conv2d(40, 9, 1, groups=1),
    )


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(7, 12, 3, stride=2),
        nn.ReLU(),
        nn.ConvTranspose2d(12, 20, 2, stride=2, groups=4),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.ConvTranspose2d(20, 20, 3, groups=20, bias=False),
        nn.ConvTranspose2d(20, 5, 1),
    )


class OtherDimensions(nn.Module):
    """Convolutions in one and three dimensions, and a transposed one of each."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv1d(5, 6, 3)
        self.back = nn.ConvTranspose1d(6, 4, 5, groups=2)
        self.volume = nn.Conv3d(1, 3, (2, 1, 3))
        self.unfold = nn.ConvTranspose3d(3, 2, (1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        line = self.back(torch.relu(self.line(x)))
        return self.unfold(torch.relu(self.volume(line.reshape(line.shape[0], 1, 4, 2, -1))))


class PixelShuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Conv2d(3, 6 * 4, 3, padding=1)
        self.up = nn.PixelShuffle(2)
        self.down = nn.PixelUnshuffle(2)
        self.narrow = nn.Conv2d(6, 5, 1)
        self.head = nn.Conv2d(20, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.down(self.narrow(torch.relu(self.up(self.widen(x))))))


class ChannelsLastFlatten(nn.Module):
    """A flatten after NHWC: the linear's inputs run over channels fastest."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 3)
        self.head = nn.Linear(7 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).permute(0, 2, 3, 1).flatten(1))


class ConcatenatedFlatten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3)
        self.right = nn.Conv2d(3, 6, 3)
        self.head = nn.Linear(10 * 4 * 4, 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(x), torch.relu(self.right(x))], 1).flatten(1))


class SharedLinear(nn.Module):
    """One linear used three times: counted once, listed three times."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(9, 6)
        self.shared = nn.Linear(6, 6)
        self.leave = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for _ in range(3):
            x = torch.tanh(self.shared(x))
        return self.leave(x)


class LeftMatMul(nn.Module):
    """``W @ x``: the weight is the left operand, its rows are neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(7, 9, bias=False)
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.mix.weight @ x))


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(5, 4)
        self.right = nn.Linear(6, 3)
        self.meet = nn.Bilinear(4, 3, 7)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.meet(torch.relu(self.left(x)), torch.relu(self.right(y)))


class EinsumLinear(nn.Module):
    """Head-wise linears written as einsum, in layouts no table of ops knows."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Parameter(torch.empty(3, 8, 5))
        self.merge = nn.Parameter(torch.empty(3, 5, 6))
        self.blocks = nn.Parameter(torch.empty(2, 3, 4))

    def forward(self, x: Tensor) -> Tensor:
        heads = torch.einsum("bsi,hid->bhsd", x, self.heads)
        merged = torch.einsum("bhsd,hdo->bso", torch.relu(heads), self.merge)
        return torch.einsum("bsgi,gio->bsgo", merged.unflatten(-1, (2, 3)), self.blocks).flatten(2)


class WeightNorm(nn.Module):
    """The weight is computed: gain times direction over its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(9, 12))
        self.second = nn.utils.parametrizations.weight_norm(nn.Conv1d(12, 5, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)).transpose(1, 2))


class LowRank(nn.Module):
    """LoRA left unmerged: two thin linears beside a wide one."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(13, 10)
        self.down = nn.Linear(13, 2, bias=False)
        self.up = nn.Linear(2, 10, bias=False)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + 0.5 * self.up(self.down(x))))


class Gated(nn.Module):
    """GLU halves, a PReLU, an embedding bag."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(23, 6)
        self.wide = nn.Linear(6, 16)
        self.slope = nn.PReLU(8)
        self.head = nn.Linear(8, 5)

    def forward(self, ids: Tensor) -> Tensor:
        x = nn.functional.glu(self.wide(self.words(ids)), -1)
        return self.head(self.slope(x.transpose(1, 2)).mean(-1))


class TiedHead(nn.Module):
    """The embedding is the classifier too."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(31, 12)
        self.mix = nn.Linear(12, 12)
        self.head = nn.Linear(12, 31, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.words(ids))))


class Branches(nn.Module):
    """One of two linears, chosen while the model runs: their weights lie in the branches of an If."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(7, 5)
        self.left = nn.Linear(5, 6)
        self.right = nn.Linear(5, 6)
        self.leave = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.enter(x))
        x = torch.cond(x.sum() > 0, lambda x: self.left(x), lambda x: self.right(x).tanh(), (x,))
        return self.leave(x)


class Scanned(nn.Module):
    """A recurrence written with scan: weights used inside the body of a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(5, 6)
        self.back = nn.Linear(6, 6, bias=False)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        from torch._higher_order_ops.scan import scan

        def step(state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.tanh(self.into(x) + self.back(state))
            return state, state.clone()

        _, states = scan(step, x.new_zeros(x.shape[1], 6), x)
        return self.head(states)


def tensors(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.randn(shape) for shape in shapes)


def ids(rows: int, *shape: int) -> tuple[Tensor, ...]:
    return (torch.randint(0, rows, shape),)


ARCHITECTURES: dict[str, Architecture] = {
    "mlp_2d": Architecture(mlp, lambda: tensors((2, 11))),
    "mlp_2d_dynamic": Architecture(mlp, lambda: tensors((2, 11)), dynamic=({0: "batch"},)),
    "mlp_3d": Architecture(mlp, lambda: tensors((2, 7, 11))),
    "mlp_3d_dynamic": Architecture(mlp, lambda: tensors((2, 7, 11)), dynamic=({0: "batch", 1: "length"},)),
    "cnn_bn": Architecture(cnn, lambda: tensors((2, 3, 12, 12))),
    "grouped_conv": Architecture(grouped, lambda: tensors((2, 8, 10, 10))),
    "conv_transpose": Architecture(transposed, lambda: tensors((2, 7, 4, 5))),
    "conv_1d_3d": Architecture(OtherDimensions, lambda: tensors((2, 5, 20))),
    "pixel_shuffle": Architecture(PixelShuffle, lambda: tensors((2, 3, 6, 8))),
    "nhwc_flatten": Architecture(ChannelsLastFlatten, lambda: tensors((2, 3, 6, 6))),
    "concat_flatten": Architecture(ConcatenatedFlatten, lambda: tensors((2, 3, 6, 6))),
    "shared_linear": Architecture(SharedLinear, lambda: tensors((2, 9))),
    "left_matmul": Architecture(LeftMatMul, lambda: tensors((2, 7, 5))),
    "bilinear": Architecture(Bilinear, lambda: tensors((2, 5), (2, 6))),
    "einsum": Architecture(EinsumLinear, lambda: tensors((2, 9, 8))),
    "weight_norm": Architecture(WeightNorm, lambda: tensors((2, 7, 9))),
    "lora": Architecture(LowRank, lambda: tensors((2, 13))),
    "gated": Architecture(Gated, lambda: ids(23, 2, 6)),
    "branches": Architecture(Branches, lambda: tensors((2, 7))),
    "scanned": Architecture(Scanned, lambda: tensors((4, 2, 5))),
    "tied_head": Architecture(TiedHead, lambda: ids(31, 2, 6)),
}
