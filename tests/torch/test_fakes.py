"""What is told of operators and modules is what PyTorch's mode for fake tensors finds by running them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import graphneurons
from graphneurons.load import fx
from graphneurons.load.fakes import KERNELS, RULES, WRITTEN, Fakes
from graphneurons.load.leaves import leaf_shape

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def f(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


IMAGE = f(2, 4, 6, 6)
TURNED = f(2, 3, 4).transpose(1, 2)
LAST = IMAGE.to(memory_format=torch.channels_last)
ONE_PIXEL = f(2, 4, 1, 1).to(memory_format=torch.channels_last)
SLICED = f(2, 6)[:, :4]
QKV = f(2, 2, 5, 8)

TOLD: dict[str, list[tuple[Any, ...]]] = {
    **{
        f"aten.{name}{end}.default": [(IMAGE,), (f(),), (f(0, 3),), *((f(3, dtype=dtype),) for dtype in FLOATS)]
        for name in ("relu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid")
        for end in ("", "_")
    },
    "aten.gelu.default": [(IMAGE,), (f(2, 3, dtype=torch.float64),)],
    **{f"aten.hardtanh{end}.default": [(IMAGE,), (IMAGE, 0, 6), (IMAGE, -0.5, 0.5)] for end in ("", "_")},
    **{f"aten.leaky_relu{end}.default": [(IMAGE,), (IMAGE, 0.2)] for end in ("", "_")},
    **{
        f"aten.{name}{end}.Tensor": [
            (IMAGE, IMAGE), (IMAGE, 2), (IMAGE, 0.5), (IMAGE, f()), (IMAGE, f(6)), (IMAGE, f(4, 1, 1)),
            (IMAGE, f(2, 4, 1, 1)), (f(2, 3, dtype=torch.float16), f(1, 3, dtype=torch.float16)),
        ]
        for name in ("add", "sub", "mul", "div")
        for end in ("", "_")
    },
    "aten.cat.default": [
        ([IMAGE, f(2, 5, 6, 6)], 1), ([IMAGE, IMAGE], -1), ([IMAGE],), ([f(2, 4, 1, 1), f(2, 3, 1, 1)], 1),
        ([f(3), f(0), f(2)],),
    ],
    "aten.mm.default": [(f(2, 3), f(3, 4)), (f(2, 3), f(4, 3).t()), (f(3, 2).t(), f(3, 4))],
    "aten.bmm.default": [(f(5, 2, 3), f(5, 3, 4)), (f(5, 2, 3), f(5, 4, 3).transpose(1, 2))],
    "aten.addmm.default": [(f(4), f(2, 3), f(3, 4)), (f(4), f(2, 3), f(4, 3).t())],
    "aten.view.default": [(IMAGE, [2, -1]), (IMAGE, [8, 36]), (TURNED, [2, 4, 3, 1])],
    "aten._unsafe_view.default": [(IMAGE, [2, 144])],
    "aten.transpose.int": [(IMAGE, 1, 2), (TURNED, 0, -1)],
    "aten.t.default": [(f(2, 3),), (f(3),)],
    "aten.permute.default": [(IMAGE, [0, 2, 3, 1])],
    "aten.unsqueeze.default": [(IMAGE, 1), (TURNED, -1)],
    "aten.squeeze.default": [(f(1, 3, 1),)],
    "aten.squeeze.dim": [(f(1, 3, 1), 0), (f(1, 3, 1), 1)],
    "aten.squeeze.dims": [(f(1, 3, 1), [0, 2])],
    "aten.select.int": [(IMAGE, 1, 2), (IMAGE, 2, -1)],
    "aten.slice.Tensor": [(IMAGE, 1, 1, 3), (IMAGE, 2, 0, 6, 2)],
    "aten.expand.default": [(f(1, 4, 1), [3, -1, 5])],
    "aten.split.Tensor": [(IMAGE, 3, 1)],
    "aten.split_with_sizes.default": [(IMAGE, [1, 3], 1)],
    "aten.unbind.int": [(IMAGE, 1)],
    "aten.clone.default": [(IMAGE,), (TURNED,), (LAST,)],
    "aten.mean.dim": [(IMAGE, [2, 3]), (IMAGE, [-1], True)],
    "aten._softmax.default": [(IMAGE, -1, False)],
    "aten.max_pool2d_with_indices.default": [(IMAGE, [2, 2]), (IMAGE, [3, 3], [2, 2], [1, 1]), (LAST, [2, 2])],
    "aten.avg_pool2d.default": [(IMAGE, [2, 2]), (LAST, [2, 2])],
    "aten._adaptive_avg_pool2d.default": [(IMAGE, [3, 2])],
    "aten._scaled_dot_product_flash_attention_for_cpu.default": [(QKV, QKV, QKV), (QKV, QKV, QKV, 0.0, True)],
}  # fmt: skip
"""Target -> arguments it is told for."""

LEFT: list[tuple[str, tuple[Any, ...]]] = [
    *(
        (f"aten.relu{end}.default", (each,))
        for end in ("", "_")
        for each in (TURNED, LAST, ONE_PIXEL, SLICED, f(2).long())
    ),
    ("aten.sigmoid.default", (f(2).long(),)),
    ("aten.hardtanh.default", (IMAGE, 6, 0)),
    ("aten.add.Tensor", (IMAGE, f(6, dtype=torch.float64))),
    ("aten.add.Tensor", (IMAGE, True)),
    ("aten.add.Tensor", (IMAGE, 2j)),
    ("aten.add.Tensor", (IMAGE, LAST)),
    ("aten.add.Tensor", (IMAGE, f(5))),
    ("aten.add.Tensor", (IMAGE, f(6).to("meta"))),
    ("aten.add_.Tensor", (f(6), IMAGE)),
    ("aten.add.Tensor", (f(2, 3).long(), 0.5)),
    ("aten.cat.default", ([],)),
    ("aten.cat.default", ([IMAGE, f(0)],)),
    ("aten.cat.default", ([IMAGE, IMAGE], 4)),
    ("aten.cat.default", ([IMAGE, f(2, 4, 6, 5)], 1)),
    ("aten.cat.default", ([IMAGE, f(2, 4, 6)], 1)),
    ("aten.cat.default", ([IMAGE, f(2, 4, 6)], 3)),
    ("aten.cat.default", ([IMAGE, IMAGE.double()], 1)),
    ("aten.cat.default", ([LAST, LAST], 1)),
    ("aten.cat.default", ([f(2, 4, 1, 1), ONE_PIXEL], 1)),
    ("aten.mm.default", (f(2, 3), f(4, 3))),
    ("aten.mm.default", (f(2, 3), f(3, 4, dtype=torch.float64))),
    ("aten.bmm.default", (f(5, 2, 3), f(4, 3, 4))),
    ("aten.addmm.default", (f(2, 4), f(2, 3), f(3, 4))),
    ("aten.addmm.default", (f(4).double(), f(2, 3), f(3, 4))),
    ("aten.view.default", (IMAGE, [7, -1])),
    ("aten.view.default", (TURNED, [2, 12])),
    ("aten.view.default", (f(3, dtype=torch.complex64), [3, 1])),
    ("aten.select.int", (IMAGE, 1, 4)),
    ("aten.nonzero.default", (IMAGE,)),
    ("aten.zeros_like.default", (IMAGE,)),
]
"""What is left to the mode."""


def called(target: str) -> Any:
    _, name, overload = target.split(".")
    return getattr(getattr(torch.ops.aten, name), overload)


def faked(made: Fakes, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return made.mode.from_tensor(value)
    return [faked(made, each) for each in value] if isinstance(value, list) else value


def described(value: Any) -> Any:
    """Type, device, sizes, and how the elements lie (axes of size 1 lie anyhow)."""
    if isinstance(value, torch.Tensor):
        strides = [stride for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1]
        return value.dtype, value.device, value.shape, strides if value.numel() else None, value.storage_offset()
    return [described(each) for each in value] if isinstance(value, (list, tuple)) else value


CASES = [(target, args) for target, several in TOLD.items() for args in several]


@pytest.mark.parametrize(("target", "args"), CASES)
def test_what_is_told_of_an_operator_is_what_the_mode_finds(target: str, args: tuple[Any, ...]) -> None:
    made = Fakes()
    with torch.no_grad():
        given = [faked(made, each) for each in args]
        told = made.told(target, called(target), given, {})
        with made.mode:
            found = called(target)(*given)
    assert told is not None
    assert described(told) == described(found)
    assert (told is given[0]) == (found is given[0]) == (target in WRITTEN)


@pytest.mark.parametrize(("target", "args"), LEFT)
def test_what_is_not_plain_is_left_to_the_mode(target: str, args: tuple[Any, ...]) -> None:
    made = Fakes()
    with torch.no_grad():
        assert made.told(target, called(target), [faked(made, each) for each in args], {}) is None


def test_tensors_of_others_and_constants_are_left_to_the_mode() -> None:
    made = Fakes()
    with made.mode:
        constant = torch.tensor(2)
    assert constant.constant is not None
    for given in (IMAGE, Fakes().of(IMAGE), constant, nn.Parameter(IMAGE)):
        for target in ("aten.relu.default", "aten.relu_.default", "aten.view.default"):
            assert made.told(target, called(target), [given, [-1]][: 1 + ("view" in target)], {}) is None
    x = made.of(IMAGE)
    assert made.told("aten.add.Tensor", called("aten.add.Tensor"), [x, x], {"alpha": 2}) is None


def test_every_operator_that_is_told_has_a_case() -> None:
    assert set(TOLD) == {*RULES, *WRITTEN, *KERNELS}


@pytest.mark.parametrize(
    "tensor", [IMAGE, LAST, TURNED, IMAGE[1], nn.Parameter(f(2, 3)), f(3, dtype=torch.complex64), f(2).to("meta")]
)
def test_what_stands_for_a_stored_tensor_is_what_the_mode_makes_of_it(tensor: torch.Tensor) -> None:
    made = Fakes()
    with torch.no_grad():
        assert described(made.of(tensor)) == described(made.mode.from_tensor(tensor.detach()))


MODULES: list[tuple[nn.Module, torch.Tensor]] = [
    (nn.Linear(4, 3), f(4)),
    (nn.Linear(4, 3, bias=False), f(2, 5, 4)),
    (nn.Linear(4, 3).half(), f(2, 4, dtype=torch.float16)),
    (nn.Linear(4, 3), f(0, 4)),
    (nn.modules.linear.NonDynamicallyQuantizableLinear(4, 3), f(2, 4)),
    (nn.Conv1d(4, 6, 3, stride=2, groups=2), f(1, 4, 8)),
    (nn.Conv2d(4, 6, 3, padding=1), IMAGE),
    (nn.Conv2d(4, 6, (1, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2), bias=False), IMAGE),
    (nn.Conv2d(1, 6, 3), f(2, 1, 6, 6)),
    (nn.Conv2d(4, 6, 6), IMAGE),
    (nn.Conv2d(4, 6, 1), f(2, 4, 1, 1)),
    (nn.Conv3d(4, 6, 2), f(1, 4, 3, 3, 3)),
]


@pytest.mark.parametrize(("module", "x"), MODULES)
def test_what_is_told_of_a_module_is_what_the_mode_finds(module: nn.Module, x: torch.Tensor) -> None:
    made = Fakes()
    given = made.of(x)
    shape = leaf_shape(module, tuple(given.shape))
    assert made.agree(given, module.parameters())
    assert shape is not None
    with torch.no_grad(), made.mode:
        assert described(made.made(shape, given)) == described(module(given))


def hooked(module: nn.Module, hook: Callable[..., Any]) -> nn.Module:
    module.register_forward_hook(hook)
    return module


def called_otherwise(module: nn.Module) -> nn.Module:
    module.forward = lambda x: x  # type: ignore[method-assign]
    return module


UNTOLD: list[tuple[nn.Module, torch.Tensor]] = [
    (nn.Linear(4, 3), f(2, 5)),
    (nn.Linear(4, 3), f()),
    (nn.Conv2d(4, 6, 3), f(4, 6, 6)),
    (nn.Conv2d(4, 6, 3), f(2, 3, 6, 6)),
    (nn.Conv2d(4, 6, 3), f(0, 4, 6, 6)),
    (nn.Conv2d(4, 6, 7), IMAGE),
    (nn.Conv2d(4, 6, 3, padding="same"), IMAGE),
    (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), IMAGE),
    (nn.ConvTranspose2d(4, 6, 3), IMAGE),
    (nn.Embedding(7, 4), f(2).long()),
    (called_otherwise(nn.Linear(4, 3)), f(2, 4)),
    (hooked(nn.Linear(4, 3), lambda module, args, found: found[:1]), f(2, 4)),
]


@pytest.mark.parametrize(("module", "x"), UNTOLD)
def test_modules_that_have_to_be_called(module: nn.Module, x: torch.Tensor) -> None:
    assert leaf_shape(module, tuple(x.shape)) is None


def test_stored_tensors_agree_where_nothing_is_cast_or_laid_out_otherwise() -> None:
    made = Fakes()
    x = made.of(IMAGE)
    assert made.agree(x, [f(3)])
    for stored in (f(3, dtype=torch.float64), f(3).to("meta"), LAST, ONE_PIXEL, made.of(f(3)), f(3).to_sparse()):
        assert not made.agree(x, [stored])
    assert not made.agree(made.of(f(3).long()), [f(3).long()])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        casting = Fakes()
        assert not casting.agree(casting.of(IMAGE), [f(3)])


class Network(nn.Module):
    """Most that is told, in one model."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2))
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.cat([x * self.scale, x], 1)[:, :8]
        x += 1
        x = x.flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.down(nn.functional.gelu(self.up(self.norm(x)))).mean(1, keepdim=True)


def test_graphs_are_the_same_without_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = graphneurons.trace(Network().eval(), f(2, 3, 10, 10), how="fx")
    monkeypatch.setattr(Fakes, "told", lambda *args: None)
    monkeypatch.setattr(Fakes, "of", lambda made, tensor: made.mode.from_tensor(tensor.detach()))
    monkeypatch.setattr(fx, "leaf_shape", lambda *args: None)
    slow = graphneurons.trace(Network().eval(), f(2, 3, 10, 10), how="fx")
    for part in ("ops", "inputs", "outputs", "declared", "notices", "weights"):
        assert getattr(quick, part) == getattr(slow, part)
