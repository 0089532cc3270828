"""Small models, each with something on the way from one layer to the next that is easily followed wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.wiring import changes
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


def image_to(width: int, change: Change, into: int, *, last: bool = False) -> Architecture:
    """A 1 x 1 convolution to ``width`` channels, ``change``, and a layer over the ``into`` channels it makes."""
    second = lambda: nn.Linear(into, 5) if last else nn.Conv2d(into, 5, 1)  # noqa: E731
    return Architecture(lambda: Between(nn.Conv2d(3, width, 1), change, second()), lambda: tensors((2, 3, 4, 6)))


def rows_to(width: int, change: Change, into: int) -> Architecture:
    """A linear to ``width`` features of (2, 6, ...) rows, ``change``, and a linear over the ``into`` it makes."""
    return Architecture(lambda: Between(nn.Linear(7, width), change, nn.Linear(into, 5)), lambda: tensors((2, 6, 7)))


class TwoMoves(nn.Module):
    """A depthwise convolution between repeated shuffles of 58 = 2 x 29 channels, then a grouped one."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 58, 1)
        self.depth = nn.Conv2d(58, 58, 3, padding=1, groups=58)
        self.grouped = nn.Conv2d(58, 58, 1, groups=2)
        self.leave = nn.Conv2d(58, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(changes.shuffled(changes.shuffled(changes.shuffled(self.enter(x)))))
        return self.leave(changes.shuffled(torch.relu(self.grouped(changes.shuffled(x, 29)))))


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
        self.down = nn.ModuleList(
            [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)]
        )
        self.up = nn.ModuleList([nn.ConvTranspose2d(8, 6, 2, 2, groups=2), nn.ConvTranspose2d(7, 5, 2, 2)])
        self.mix = nn.ModuleList([nn.Conv2d(12, 7, 1), nn.Conv2d(9, 2, 1)])

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for down in self.down:
            x = torch.relu(down(x))
            kept.append(x)
            x = F.max_pool2d(x, 2) if down is not self.down[-1] else x
        for up, mix, skip in zip(self.up, self.mix, kept[-2::-1], strict=True):
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


def rows() -> tuple[Tensor, ...]:
    return tensors((2, 6, 5))


MODELS: dict[str, Architecture] = {
    "shuffle_58": Architecture(TwoMoves, lambda: tensors((2, 3, 3, 3))),
    "shuffle_grouped": Architecture(
        lambda: Between(nn.Conv2d(3, 12, 1), lambda x: changes.shuffled(x, 3), nn.Conv2d(12, 8, 1, groups=4)),
        lambda: tensors((2, 3, 4, 4)),
    ),
    "pixel_shuffle": image_to(12, lambda x: F.pixel_shuffle(x, 2), 3),
    "pixel_unshuffle": image_to(4, lambda x: F.pixel_unshuffle(torch.relu(x), 2), 16),
    "pixel_there_and_back": image_to(12, lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2)[:, 1:], 11),
    "focus": image_to(4, changes.focus, 16),
    "nhwc_flatten": image_to(4, lambda x: x.permute(0, 2, 3, 1).flatten(1), 96, last=True),
    "concat_flatten": image_to(4, lambda x: torch.cat([x, torch.tanh(x[:, 1:3])], 1).flatten(1), 144, last=True),
    "channels_padded": image_to(6, changes.channels_padded, 11),
    "channels_permuted": image_to(6, changes.permuted, 6),
    "channels_scattered": image_to(6, changes.scattered, 6),
    "channels_flipped": image_to(6, lambda x: x.flip(1)[:, 1:], 5),
    "channels_repeated": image_to(4, lambda x: torch.cat([x.repeat(1, 2, 1, 1), x.repeat_interleave(2, 1)], 1), 16),
    "channels_rolled": image_to(7, changes.rolled, 7),
    "crossed": image_to(8, changes.crossed, 8),
    "hierarchical": image_to(8, changes.hierarchical, 8),
    "pyramid": image_to(5, changes.pooled_pyramid, 20),
    "upsampled": image_to(5, changes.upsampled_skip, 10),
    "concatenated_relu": image_to(5, changes.positive_and_negative, 10),
    "unfold": image_to(4, changes.windows, 36, last=True),
    "group_norm": image_to(9, changes.group_normalised, 9),
    "instance_norm": image_to(6, changes.instance_normalised, 6),
    "layer_norm_all": image_to(6, changes.layer_normalised, 6),
    "mean_of_channels": image_to(6, lambda x: x.mean(1, keepdim=True), 1),
    "spatial_attention": image_to(6, lambda x: x * torch.sigmoid(x.mean(1, keepdim=True)), 6),
    "interleaved_swiglu": rows_to(12, changes.interleaved_gate, 6),
    "glu": rows_to(12, changes.halves_gate, 6),
    "highway": rows_to(15, changes.highway, 5),
    "rotary": rows_to(12, changes.rotary, 12),
    "einsum_attention": rows_to(27, changes.attended, 9),
    "head_packed_attention": rows_to(27, changes.attended_per_head, 9),
    "grouped_query_attention": rows_to(32, changes.grouped_queries, 16),
    "multi_query_attention": rows_to(20, changes.expanded_queries, 12),
    "linear_attention": rows_to(24, changes.linearly_attended, 8),
    "outer_product": rows_to(7, changes.outer, 12),
    "maxout": rows_to(12, changes.maxout, 4),
    "normalised": rows_to(9, changes.normalised, 9),
    "pooled_over_time": rows_to(5, changes.mean_over_time, 15),
    "attention_pooling": rows_to(6, changes.weighted_over_time, 5),
    "cumulative": rows_to(6, lambda x: x.cumsum(1), 6),
    "flattened_time": rows_to(3, lambda x: x.flatten(1), 18),
    "sorted": rows_to(5, lambda x: x.sort(1).values, 5),
    "transposed_linear": rows_to(4, lambda x: x.transpose(1, 2), 6),
    "chain": Architecture(lambda: Chain(12), lambda: tensors((2, 5))),
    "squeeze_excite": Architecture(SqueezeExcite, lambda: tensors((2, 3, 4, 4))),
    "steps": Architecture(Steps, rows),
    "state_space": Architecture(StateSpace, rows),
    "token_mixing": Architecture(TokenMixing, rows),
    "cross_attention": Architecture(CrossAttention, lambda: tensors((2, 5, 8), (2, 3, 7))),
    "talking_heads": Architecture(TalkingHeads, lambda: tensors((2, 6, 7))),
    "head_normalised": Architecture(HeadNormalised, lambda: tensors((2, 6, 7))),
    "unet": Architecture(UNet, lambda: tensors((2, 3, 8, 8))),
    "shared_loop": Architecture(SharedLoop, rows),
    "lstm_states": Architecture(lambda: BothDirections(nn.LSTM), rows),
    "gru_states": Architecture(lambda: BothDirections(nn.GRU), rows),
    "mixture": Architecture(Mixture, rows),
    "prepended": Architecture(Prepended, lambda: tensors((2, 3, 4, 6))),
}


def exported(name: str, how: How) -> Path:
    """The file PyTorch's exporter makes of the model ``name``."""
    made_by = key(inspect.getmodule(exported), changes, zoo_models, inspect.getmodule(write))  # type: ignore[arg-type]
    return kept(f"wiring_{name}.{how}", made_by, lambda path: write(MODELS[name], how, path))
