"""Something on the way from one layer to the next: functions of an activation, each easily followed wrong."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def shuffled(x: Tensor, groups: int = 2) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


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
    return torch.cat(
        [x, F.max_pool2d(x, 3, 1, 1), F.max_pool2d(x, 5, 1, 2), x.mean((2, 3), keepdim=True).expand_as(x)], 1
    )


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
