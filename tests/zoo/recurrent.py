"""Recurrent networks and PyTorch's own attention modules.

No LSTM with projections: the legacy exporter refuses it, and the dynamo exporter writes an LSTM of the projection's
size that leaves weights out.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from tests.zoo.models import Architecture
from tests.zoo.small import ids, tensors


class Recurrent(nn.Module):
    def __init__(self, cell: nn.RNNBase, width: int) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(12, 3, batch_first=True)
        self.head = nn.Linear(12, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attend(x, x, x, need_weights=False)[0])


class CrossAttention(nn.Module):
    """Query, key and value of three widths: three weights of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(12, 3, kdim=10, vdim=7, batch_first=True, add_bias_kv=True)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.attend(q, k, v, need_weights=False)[0]


class Encoder(nn.Module):
    def __init__(self, norm_first: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(29, 12)
        self.places = nn.Parameter(torch.empty(9, 12))
        layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True, norm_first=norm_first, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(12, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.encoder(self.words(ids) + self.places)[:, 0])


class Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Embedding(29, 12)
        self.target = nn.Embedding(37, 12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nested tensors, which it would use with an even number of heads
            self.transformer = nn.Transformer(12, 3, 2, 2, 22, batch_first=True)
        self.head = nn.Linear(12, 37)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        return self.head(self.transformer(self.source(source), self.target(target), tgt_mask=mask, tgt_is_causal=True))


class RootMeanSquare(nn.Module):
    """Written out: the legacy exporter has no RMSNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class SelectiveState(nn.Module):
    """A Mamba-like block: depthwise causal convolution, input-dependent state space, gate; the scan is unrolled."""

    def __init__(self, width: int = 10, inner: int = 14, state: int = 4, rank: int = 3) -> None:
        super().__init__()
        self.inner, self.state, self.rank = inner, state, rank
        self.norm = RootMeanSquare(width)
        self.enter = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, 4, groups=inner, padding=3)
        self.select = nn.Linear(inner, rank + 2 * state, bias=False)
        self.step = nn.Linear(rank, inner)
        self.decay = nn.Parameter(torch.empty(inner, state))
        self.skip = nn.Parameter(torch.empty(inner))
        self.leave = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        h, gate = self.enter(self.norm(x)).chunk(2, -1)
        h = nn.functional.silu(self.conv(h.transpose(1, 2))[..., :length].transpose(1, 2))
        step, into, out = self.select(h).split([self.rank, self.state, self.state], -1)
        step = nn.functional.softplus(self.step(step))
        keep = torch.exp(step.unsqueeze(-1) * -torch.exp(self.decay))
        add = (step * h).unsqueeze(-1) * into.unsqueeze(2)
        state = torch.zeros_like(add[:, 0])
        outputs = []
        for t in range(length):
            state = keep[:, t] * state + add[:, t]
            outputs.append((state * out[:, t].unsqueeze(1)).sum(-1))
        y = torch.stack(outputs, 1) + self.skip * h
        return x + self.leave(y * nn.functional.silu(gate))


class Mamba(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(27, 10)
        self.blocks = nn.ModuleList([SelectiveState(), SelectiveState()])
        self.head = nn.Linear(10, 27, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def sequence() -> tuple[Tensor, ...]:
    return tensors((2, 6, 5))


ARCHITECTURES: dict[str, Architecture] = {
    "lstm": Architecture(lambda: Recurrent(nn.LSTM(5, 7, batch_first=True), 7), sequence),
    "lstm_bi_2": Architecture(lambda: Recurrent(nn.LSTM(5, 7, 2, bidirectional=True, batch_first=True), 14), sequence),
    "gru": Architecture(lambda: Recurrent(nn.GRU(5, 7, batch_first=True), 7), sequence),
    "gru_bi_2": Architecture(lambda: Recurrent(nn.GRU(5, 7, 2, bidirectional=True, batch_first=True), 14), sequence),
    "rnn_bi_2": Architecture(lambda: Recurrent(nn.RNN(5, 7, 2, bidirectional=True, batch_first=True), 14), sequence),
    "rnn_no_bias": Architecture(lambda: Recurrent(nn.RNN(5, 7, bias=False, nonlinearity="relu"), 7), sequence),
    "attention": Architecture(Attention, lambda: tensors((2, 6, 12))),
    "cross_attention": Architecture(CrossAttention, lambda: tensors((2, 6, 12), (2, 8, 10), (2, 8, 7))),
    "encoder": Architecture(Encoder, lambda: ids(29, 2, 9)),
    "encoder_norm_first": Architecture(lambda: Encoder(norm_first=True), lambda: ids(29, 2, 9)),
    "encoder_decoder": Architecture(Translator, lambda: (*ids(29, 2, 6), *ids(37, 2, 8))),
    "mamba": Architecture(Mamba, lambda: ids(27, 2, 6)),
}
