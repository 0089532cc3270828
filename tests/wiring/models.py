"""Small models, each with something on the way from one layer to the next that is easily followed wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo import models as zoo_models
from tests.zoo.exporting import How, kept, key, write
from tests.zoo.models import Architecture
from tests.zoo.small import tensors

Change = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """One layer, something, another layer."""

    def __init__(self, first: nn.Module, change: Change, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.change(self.first(x)))


def shuffled(x: Tensor, groups: int = 2) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def image_to(width: int, change: Change, into: int, *, last: bool = False) -> Architecture:
    """A 1 x 1 convolution to ``width`` channels, ``change``, and a layer over the ``into`` channels it makes."""
    second = lambda: nn.Linear(into, 5) if last else nn.Conv2d(into, 5, 1)  # noqa: E731
    return Architecture(
        lambda: Between(nn.Conv2d(3, width, 1), change, second()), lambda: tensors((2, 3, 4, 6))
    )


def rows_to(width: int, change: Change, into: int) -> Architecture:
    """A linear to ``width`` features of (2, 6, ...) rows, ``change``, and a linear over the ``into`` it makes."""
    return Architecture(lambda: Between(nn.Linear(7, width), change, nn.Linear(into, 5)), lambda: tensors((2, 6, 7)))


def interleaved_gate(x: Tensor) -> Tensor:
    return F.silu(x[..., ::2]) * x[..., 1::2]


def halves_gate(x: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return torch.sigmoid(left) * torch.tanh(right) + 0.1 * right


def focus(x: Tensor) -> Tensor:
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)


def rotary(x: Tensor) -> Tensor:
    """Two heads of width 6; the halves of a head are turned into each other."""
    n, t, c = x.shape
    x = x.view(n, t, 2, c // 2)
    angle = torch.arange(t).float().view(1, t, 1, 1) * torch.tensor([1.0, 0.3, 0.1]).repeat(2)
    turned = torch.cat([-x[..., 3:], x[..., :3]], -1)
    return (x * angle.cos() + turned * angle.sin()).flatten(2)


def attended(x: Tensor, heads: int = 3) -> Tensor:
    """Softmax attention over packed (3, heads, width) features, written as einsum."""
    n, t, c = x.shape
    q, k, v = x.view(n, t, 3, heads, c // 3 // heads).unbind(2)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * 0.4
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)


def attended_per_head(x: Tensor, heads: int = 3) -> Tensor:
    """Packed head by head: (heads, 3, width)."""
    n, t, c = x.shape
    q, k, v = x.view(n, t, heads, 3, c // 3 // heads).permute(3, 0, 2, 1, 4)
    return ((q @ k.transpose(-1, -2) * 0.4).softmax(-1) @ v).transpose(1, 2).reshape(n, t, c // 3)


def grouped_queries(x: Tensor) -> Tensor:
    """Four query heads of width 4 share two key heads: 16 + 8 + 8 features."""
    n, t, _ = x.shape
    q, k, v = x.split([16, 8, 8], -1)
    q = q.view(n, t, 4, 4).transpose(1, 2)
    k, v = (item.view(n, t, 2, 4).transpose(1, 2).repeat_interleave(2, 1) for item in (k, v))
    return ((q @ k.transpose(-1, -2) * 0.5).softmax(-1) @ v).transpose(1, 2).reshape(n, t, 16)


def expanded_queries(x: Tensor) -> Tensor:
    """One key head for all: multi-query attention by broadcasting."""
    n, t, _ = x.shape
    q, k, v = x.split([12, 4, 4], -1)
    q = q.view(n, t, 3, 4).transpose(1, 2)
    scores = q @ k.unsqueeze(1).transpose(-1, -2)
    return (scores.softmax(-1) @ v.unsqueeze(1)).transpose(1, 2).reshape(n, t, 12)


def linearly_attended(x: Tensor) -> Tensor:
    """No softmax over keys: keys and values are summed up first."""
    n, t, c = x.shape
    q, k, v = x.view(n, t, 3, 2, c // 6).permute(2, 0, 3, 1, 4)
    state = F.elu(k).transpose(-1, -2) @ v
    return ((F.elu(q) + 1) @ state).transpose(1, 2).reshape(n, t, c // 3)


def outer(x: Tensor) -> Tensor:
    left, right = x.split([3, 4], -1)
    return (left.unsqueeze(-1) * right.unsqueeze(-2)).flatten(-2)


def maxout(x: Tensor) -> Tensor:
    return x.unflatten(-1, (4, 3)).amax(-1)


def channels_padded(x: Tensor) -> Tensor:
    return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 3))


def permuted(x: Tensor) -> Tensor:
    return x[:, torch.tensor([4, 1, 1, 0, 5, 2])]


def crossed(x: Tensor) -> Tensor:
    """Two branches whose channels cross before they add up."""
    left, right = x.chunk(2, 1)
    return torch.cat([left + right.flip(1), left * right], 1)


def hierarchical(x: Tensor) -> Tensor:
    """Res2Net's: each part takes in the one before."""
    parts = list(x.chunk(4, 1))
    for index in range(1, 4):
        parts[index] = parts[index] + parts[index - 1]
    return torch.cat(parts, 1)


def pooled_pyramid(x: Tensor) -> Tensor:
    return torch.cat([x, F.max_pool2d(x, 3, 1, 1), F.max_pool2d(x, 5, 1, 2), x.mean((2, 3), keepdim=True).expand_as(x)], 1)


def upsampled_skip(x: Tensor) -> Tensor:
    low = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="nearest")
    return torch.cat([x, low], 1)


def windows(x: Tensor) -> Tensor:
    """Overlapping 3 x 3 windows, with the elements of a window beside the channels."""
    return F.unfold(x, 3, padding=1).transpose(1, 2)


def rolled(x: Tensor) -> Tensor:
    return torch.roll(x, (1, -2, 3), (1, 2, 3))


def scattered(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, [5, 0, 3]] = x[:, :3]
    return out


def normalised(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


def group_normalised(x: Tensor) -> Tensor:
    return F.group_norm(x, 3)


def instance_normalised(x: Tensor) -> Tensor:
    return F.instance_norm(x)


def layer_normalised(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:])


def mean_over_time(x: Tensor) -> Tensor:
    return torch.cat([x.mean(1), x.amax(1), x[:, -1]], -1)


def weighted_over_time(x: Tensor) -> Tensor:
    """Attention pooling: the last feature weighs all others."""
    return (x[..., :-1] * x[..., -1:].softmax(1)).sum(1)


def positive_and_negative(x: Tensor) -> Tensor:
    return torch.relu(torch.cat([x, -x], 1))


def highway(x: Tensor) -> Tensor:
    value, gate, old = x.chunk(3, -1)
    gate = torch.sigmoid(gate)
    return gate * value + (1 - gate) * old


def last_state(outputs: tuple[Tensor, tuple[Tensor, Tensor]]) -> Tensor:
    return outputs[1][0].transpose(0, 1).flatten(1)


class TwoMoves(nn.Module):
    """A depthwise convolution between repeated shuffles of 58 = 2 x 29 channels, then a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 58, 1)
        self.depth = nn.Conv2d(58, 58, 3, padding=1, groups=58)
        self.grouped = nn.Conv2d(58, 58, 1, groups=2)
        self.leave = nn.Conv2d(58, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(shuffled(shuffled(shuffled(self.enter(x)))))
        return self.leave(shuffled(torch.relu(self.grouped(shuffled(x, 29)))))


class Chain(nn.Module):
    """A residual stream of many blocks."""

    def __init__(self, blocks: int, width: int = 6) -> None:
        super().__init__()
        self.enter = nn.Linear(5, width)
        self.blocks = nn.ModuleList([nn.Linear(width, width) for _ in range(blocks)])
        self.leave = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.leave(x)


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 10, 3, padding=1)
        self.squeeze = nn.Linear(10, 4)
        self.excite = nn.Linear(4, 10)
        self.leave = nn.Conv2d(10, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        return self.leave(x * gate[:, :, None, None])


class Steps(nn.Module):
    """One cell, tied over all steps, with its state written out."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(5, 6)
        self.again = nn.Linear(6, 6, bias=False)
        self.gate = nn.Linear(11, 6)
        self.leave = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.shape[0], 6)
        for t in range(x.shape[1]):
            gate = torch.sigmoid(self.gate(torch.cat([x[:, t], state], -1)))
            state = gate * state + (1 - gate) * torch.tanh(self.read(x[:, t]) + self.again(state))
        return self.leave(state)


class StateSpace(nn.Module):
    """The weight is the left operand of MatMul: ``A @ state``, neurons along the last but one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(5, 4)
        self.into = nn.Parameter(torch.empty(6, 4))
        self.keep = nn.Parameter(torch.empty(6, 6))
        self.out = nn.Parameter(torch.empty(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        u = self.enter(x).transpose(1, 2)
        state = self.into @ u[..., :1]
        for t in range(1, 4):
            state = torch.tanh(self.keep @ state) + self.into @ u[..., t : t + 1]
        return self.out @ state


class TokenMixing(nn.Module):
    """A linear over tokens: its synapses are positions, where all channels come by."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(5, 4)
        self.tokens = nn.Linear(6, 8)
        self.back = nn.Linear(8, 6)
        self.leave = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        y = self.back(F.gelu(self.tokens(x.transpose(1, 2)))).transpose(1, 2)
        return self.leave(x + y)


class CrossAttention(nn.Module):
    """Whisper in small: convolutions over sound, tokens that ask, a cache that is prepended."""

    def __init__(self) -> None:
        super().__init__()
        self.hear = nn.Conv1d(5, 12, 3, padding=1)
        self.again = nn.Conv1d(12, 12, 3, 2, 1)
        self.words = nn.Linear(7, 12)
        self.q, self.k, self.v = nn.Linear(12, 12), nn.Linear(12, 12, bias=False), nn.Linear(12, 12)
        self.out = nn.Linear(12, 9)

    def forward(self, sound: Tensor, text: Tensor) -> Tensor:
        heard = F.gelu(self.again(F.gelu(self.hear(sound)))).transpose(1, 2)
        asked = self.words(text)
        q, k, v = self.q(asked), self.k(heard), self.v(heard)
        q, k, v = (item.unflatten(-1, (3, 4)).transpose(1, 2) for item in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).flatten(2) + asked)


class TalkingHeads(nn.Module):
    """Linears over the heads, before and after softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(7, 36)
        self.before = nn.Linear(3, 3)
        self.after = nn.Linear(3, 3)
        self.out = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4)
        scores = self.before((q @ k.transpose(-1, -2)).permute(0, 2, 3, 1)).softmax(-2)
        mixed = self.after(scores).permute(0, 3, 1, 2)
        return self.out((mixed @ v).transpose(1, 2).flatten(2))


class HeadNormalised(nn.Module):
    """Queries and keys are normalised per head, values sit in another layout."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(7, 12), nn.Linear(7, 12), nn.Linear(7, 12)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        q, k = (self.norm(item.unflatten(-1, (3, 4))) for item in (self.q(x), self.k(x)))
        v = self.v(x).unflatten(-1, (4, 3))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k).softmax(-1)
        return self.out(torch.einsum("bhqk,bkdh->bqdh", scores, v).flatten(2))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(8, 6, 2, 2, groups=2), nn.ConvTranspose2d(7, 5, 2, 2)])
        self.mix = nn.ModuleList([nn.Conv2d(12, 7, 1), nn.Conv2d(9, 2, 1)])

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for down in self.down:
            x = torch.relu(down(x))
            kept.append(x)
            x = F.max_pool2d(x, 2) if down is not self.down[-1] else x
        for up, mix, skip in zip(self.up, self.mix, kept[-2::-1]):
            x = mix(torch.cat([up(x), skip], 1))
        return x


class SharedLoop(nn.Module):
    """One block over and over, with an input that comes back in every round."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(5, 6)
        self.block = nn.Linear(12, 6)
        self.leave = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = state = self.enter(x)
        for _ in range(3):
            state = torch.tanh(self.block(torch.cat([state, first], -1))) + state
        return self.leave(state)


class BothDirections(nn.Module):
    """The last states of both directions side by side."""

    def __init__(self, cell: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell = cell(5, 6, bidirectional=True, batch_first=True)
        self.mix = nn.Linear(12, 7)
        self.leave = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs, state = self.cell(x)
        state = state[0] if isinstance(state, tuple) else state
        return self.leave(state.transpose(0, 1).flatten(1)) + self.mix(outputs)[:, 0, :3]


class Mixture(nn.Module):
    """Two experts weighed by a router."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(5, 2)
        self.experts = nn.ModuleList([nn.Linear(5, 6), nn.Linear(5, 6)])
        self.leave = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        share = torch.sigmoid(self.router(x))
        return self.leave(sum(expert(x) * share[..., i : i + 1] for i, expert in enumerate(self.experts)))


class Prepended(nn.Module):
    """A learned token before the others, positions added to all; the first one is read out."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, 2)
        self.token = nn.Parameter(torch.empty(1, 1, 8))
        self.places = nn.Parameter(torch.empty(1, 7, 8))
        self.mix = nn.Linear(8, 8)
        self.tokens = nn.Linear(7, 7)
        self.leave = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        x = x + self.tokens(self.mix(x).transpose(1, 2)).transpose(1, 2)
        return self.leave(x[:, 0])


ROWS = (lambda: tensors((2, 6, 5)))
MODELS: dict[str, Architecture] = {
    "shuffle_58": Architecture(TwoMoves, lambda: tensors((2, 3, 3, 3))),
    "shuffle_grouped": Architecture(
        lambda: Between(nn.Conv2d(3, 12, 1), lambda x: shuffled(x, 3), nn.Conv2d(12, 8, 1, groups=4)),
        lambda: tensors((2, 3, 4, 4)),
    ),
    "pixel_shuffle": image_to(12, lambda x: F.pixel_shuffle(x, 2), 3),
    "pixel_unshuffle": image_to(4, lambda x: F.pixel_unshuffle(torch.relu(x), 2), 16),
    "pixel_there_and_back": image_to(12, lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2)[:, 1:], 11),
    "focus": image_to(4, focus, 16),
    "nhwc_flatten": image_to(4, lambda x: x.permute(0, 2, 3, 1).flatten(1), 96, last=True),
    "concat_flatten": image_to(4, lambda x: torch.cat([x, torch.tanh(x[:, 1:3])], 1).flatten(1), 144, last=True),
    "channels_padded": image_to(6, channels_padded, 11),
    "channels_permuted": image_to(6, permuted, 6),
    "channels_scattered": image_to(6, scattered, 6),
    "channels_flipped": image_to(6, lambda x: x.flip(1)[:, 1:], 5),
    "channels_repeated": image_to(4, lambda x: torch.cat([x.repeat(1, 2, 1, 1), x.repeat_interleave(2, 1)], 1), 16),
    "channels_rolled": image_to(7, rolled, 7),
    "crossed": image_to(8, crossed, 8),
    "hierarchical": image_to(8, hierarchical, 8),
    "pyramid": image_to(5, pooled_pyramid, 20),
    "upsampled": image_to(5, upsampled_skip, 10),
    "concatenated_relu": image_to(5, positive_and_negative, 10),
    "unfold": image_to(4, windows, 36, last=True),
    "group_norm": image_to(9, group_normalised, 9),
    "instance_norm": image_to(6, instance_normalised, 6),
    "layer_norm_all": image_to(6, layer_normalised, 6),
    "mean_of_channels": image_to(6, lambda x: x.mean(1, keepdim=True), 1),
    "spatial_attention": image_to(6, lambda x: x * torch.sigmoid(x.mean(1, keepdim=True)), 6),
    "interleaved_swiglu": rows_to(12, interleaved_gate, 6),
    "glu": rows_to(12, halves_gate, 6),
    "highway": rows_to(15, highway, 5),
    "rotary": rows_to(12, rotary, 12),
    "einsum_attention": rows_to(27, attended, 9),
    "head_packed_attention": rows_to(27, attended_per_head, 9),
    "grouped_query_attention": rows_to(32, grouped_queries, 16),
    "multi_query_attention": rows_to(20, expanded_queries, 12),
    "linear_attention": rows_to(24, linearly_attended, 8),
    "outer_product": rows_to(7, outer, 12),
    "maxout": rows_to(12, maxout, 4),
    "normalised": rows_to(9, normalised, 9),
    "pooled_over_time": rows_to(5, mean_over_time, 15),
    "attention_pooling": rows_to(6, weighted_over_time, 5),
    "cumulative": rows_to(6, lambda x: x.cumsum(1), 6),
    "flattened_time": rows_to(3, lambda x: x.flatten(1), 18),
    "sorted": rows_to(5, lambda x: x.sort(1).values, 5),
    "transposed_linear": rows_to(4, lambda x: x.transpose(1, 2), 6),
    "chain": Architecture(lambda: Chain(12), lambda: tensors((2, 5))),
    "squeeze_excite": Architecture(SqueezeExcite, lambda: tensors((2, 3, 4, 4))),
    "steps": Architecture(Steps, ROWS),
    "state_space": Architecture(StateSpace, ROWS),
    "token_mixing": Architecture(TokenMixing, ROWS),
    "cross_attention": Architecture(CrossAttention, lambda: tensors((2, 5, 8), (2, 3, 7))),
    "talking_heads": Architecture(TalkingHeads, lambda: tensors((2, 6, 7))),
    "head_normalised": Architecture(HeadNormalised, lambda: tensors((2, 6, 7))),
    "unet": Architecture(UNet, lambda: tensors((2, 3, 8, 8))),
    "shared_loop": Architecture(SharedLoop, ROWS),
    "lstm_states": Architecture(lambda: BothDirections(nn.LSTM), ROWS),
    "gru_states": Architecture(lambda: BothDirections(nn.GRU), ROWS),
    "mixture": Architecture(Mixture, ROWS),
    "prepended": Architecture(Prepended, lambda: tensors((2, 3, 4, 6))),
}


def exported(name: str, how: How) -> Path:
    """The file PyTorch's exporter makes of the model ``name``."""
    made_by = key(inspect.getmodule(exported), zoo_models, inspect.getmodule(write))  # type: ignore[arg-type]
    return kept(f"wiring_{name}.{how}", made_by, lambda path: write(MODELS[name], how, path))
