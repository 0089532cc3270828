"""Fake tensors: they have shapes and types, and no values. PyTorch's mode makes them by running its own operators.

That takes it 0.1 to 1 ms per operator and shape: for its cache, for the general case, for kernels written in Python.
What the commonest operators return for plain operands is told here. Whatever is not plain beyond doubt (other layouts,
mixed types or devices, sizes that do not fit) is left to the mode, its errors with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from math import inf
from typing import Any

Shape = tuple[int, ...]


class Fakes:
    """Makes fake tensors, all of one ``mode``."""

    def __init__(self) -> None:
        import torch
        from torch._subclasses import FakeTensor, FakeTensorMode
        from torch._subclasses.fake_tensor import in_kernel_invocation_manager

        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._torch = torch
        self._kind = FakeTensor
        self._kernels = in_kernel_invocation_manager
        kinds = filter(torch.amp.is_autocast_available, ("cpu", "cuda", "xpu", "mps"))
        self._casting = any(map(torch.is_autocast_enabled, kinds))
        self._real = torch.Tensor, torch.nn.Parameter
        floats = torch.float32, torch.float16, torch.bfloat16, torch.float64
        self._floats = frozenset(floats)
        self._types = frozenset((*floats, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool))

    def of(self, tensor: Any) -> Any:
        """What stands for a tensor that is stored."""
        if self._is_stored(tensor) and not tensor.storage_offset() and not tensor.is_neg():
            with self._kernels(self.mode):
                empty = self._torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            return self._kind(self.mode, empty, tensor.device)
        return self.mode.from_tensor(tensor.detach() if isinstance(tensor, self._real[1]) else tensor)

    def made(self, shape: Shape, like: Any) -> Any:
        """A fake tensor of the type and device of ``like``, whose elements lie in the order of its axes."""
        with self._kernels(self.mode):
            empty = self._torch.empty(shape, dtype=like.dtype, device="meta")
        return self._kind(self.mode, empty, like.fake_device)

    def is_plain(self, value: Any) -> bool:
        """Whether ``value`` is a fake tensor of a common type that is strided, and no constant the mode knows."""
        return (
            type(value) is self._kind
            and value.fake_mode is self.mode
            and value.constant is None
            and value.dtype in self._types
            and value.layout is self._torch.strided
            and not value._has_symbolic_sizes_strides
        )

    def is_ordered(self, value: Any) -> bool:
        """Whether ``value`` is plain and lies in the order of its axes: what operators make of it does too."""
        return self.is_plain(value) and _in_order(value)

    def is_float(self, value: Any) -> bool:
        return value.dtype in self._floats

    def agree(self, value: Any, stored: Iterable[Any]) -> bool:
        """Whether stored tensors are plain, and of the type and device of ``value``, a fake tensor of floats that is
        not cast where they meet."""
        return not self._casting and self.is_float(value) and all(
            tensor.dtype is value.dtype
            and tensor.device == value.fake_device
            and self._is_stored(tensor)
            and _in_order(tensor)
            for tensor in stored
        )

    def _is_stored(self, tensor: Any) -> bool:
        return type(tensor) in self._real and tensor.dtype in self._types and tensor.layout is self._torch.strided

    def told(self, target: str, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the operator ``func``, called ``target``, returns; None if that is left to the mode."""
        rule = RULES.get(target)
        if rule is not None:
            shape = None if kwargs else rule(self, *args)
            first = args[0][0] if isinstance(args[0], (tuple, list)) and args[0] else args[0]
            return None if shape is None else self.made(shape, first)
        rule = WRITTEN.get(target)
        if rule is not None:
            return args[0] if not kwargs and rule(self, *args) == args[0].shape else None
        return self._computed(func, args, kwargs) if target in KERNELS else None

    def _computed(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What the kernel for shapes returns: called as the mode calls it, for operands of one device."""
        if not self.is_plain(args[0]):
            return None
        tensor, device = self._torch.Tensor, args[0].fake_device
        operands: list[Any] = [each for each in (*args, *kwargs.values()) if isinstance(each, tensor)]
        if not all(self.is_plain(each) and each.fake_device == device for each in operands):
            return None
        try:
            with self._kernels(self.mode):
                found = func(*args, **kwargs)
        except Exception:  # What is wrong, the mode says.
            return None
        if not isinstance(found, (tuple, list)):
            return self._kind(self.mode, found, device)
        return [self._kind(self.mode, each, device) if isinstance(each, tensor) else each for each in found]


def _in_order(tensor: Any) -> bool:
    """Whether elements lie in the order of the axes. An axis of size 1 may have any stride: one that is out of order
    stands for another layout, like channels_last."""
    if not tensor.is_contiguous():
        return False
    last = inf
    for stride in tensor.stride():
        if stride > last:
            return False
        last = stride
    return True


KERNELS = frozenset(
    f"aten.{name}"
    for name in (
        "view.default", "_unsafe_view.default", "transpose.int", "t.default", "permute.default", "unsqueeze.default",
        "squeeze.default", "squeeze.dim", "squeeze.dims", "select.int", "slice.Tensor", "expand.default",
        "split.Tensor", "split_with_sizes.default", "unbind.int", "clone.default", "mean.dim", "_softmax.default",
        "max_pool2d_with_indices.default", "avg_pool2d.default", "_adaptive_avg_pool2d.default",
        "_scaled_dot_product_flash_attention_for_cpu.default",
    )
)  # fmt: skip
"""Operators whose kernels for shapes are quick. The first operand is a tensor, none is a list of them."""

Rule = Callable[..., Shape | None]


def _alike(fakes: Fakes, x: Any, *bounds: Any) -> Shape | None:
    """An activation: element by element, and of the type it is given. Bounds, or a slope, are numbers."""
    if not fakes.is_ordered(x) or not fakes.is_float(x) or not all(type(each) in (int, float) for each in bounds):
        return None
    return tuple(x.shape) if list(bounds) == sorted(bounds) else None


def _pair(fakes: Fakes, x: Any, y: Any) -> Shape | None:
    """Arithmetic of two tensors, or of a tensor and a number."""
    if not fakes.is_ordered(x) or not fakes.is_float(x):
        return None
    if type(y) in (int, float):
        return tuple(x.shape)
    if not fakes.is_ordered(y) or y.dtype is not x.dtype or y.fake_device != x.fake_device:
        return None
    shape = []
    for left, right in zip_longest(reversed(x.shape), reversed(y.shape), fillvalue=1):
        if left != right and left != 1 and right != 1:
            return None
        shape.append(right if left == 1 else left)
    return tuple(reversed(shape))


def _cat(fakes: Fakes, parts: Sequence[Any], dim: int = 0) -> Shape | None:
    first: Any = parts[0] if parts else None
    if not fakes.is_ordered(first) or not -first.dim() <= dim < first.dim():
        return None
    dim %= first.dim()
    shape = list(first.shape)
    for part in parts[1:]:
        if not fakes.is_ordered(part) or part.dtype is not first.dtype or part.fake_device != first.fake_device:
            return None
        sizes = list(part.shape)
        if len(sizes) != len(shape):
            return None
        sizes[dim] = shape[dim] = shape[dim] + sizes[dim]
        if sizes != shape:
            return None
    return tuple(shape)


def _product(fakes: Fakes, x: Any, y: Any) -> Shape | None:
    """mm and bmm: the axis before the last two, if there is one, is the same in both."""
    if not fakes.is_plain(x) or not fakes.is_plain(y) or not fakes.is_float(x):
        return None
    left, right = tuple(x.shape), tuple(y.shape)
    agree = y.dtype is x.dtype and y.fake_device == x.fake_device and len(left) == len(right)
    return (*left[:-1], right[-1]) if agree and left[:-2] == right[:-2] and left[-1] == right[-2] else None


def _added_product(fakes: Fakes, bias: Any, x: Any, y: Any) -> Shape | None:
    """addmm with a bias per column."""
    shape = _product(fakes, x, y)
    if shape is None or not fakes.is_plain(bias) or tuple(bias.shape) != shape[1:]:
        return None
    return shape if bias.dtype is x.dtype and bias.fake_device == x.fake_device else None


_ALIKE = ("relu", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu")
_PAIRS = ("add", "sub", "mul", "div")

RULES: Mapping[str, Rule] = {
    **{f"aten.{name}.default": _alike for name in _ALIKE},
    **{f"aten.{name}.Tensor": _pair for name in _PAIRS},
    "aten.cat.default": _cat,
    "aten.mm.default": _product,
    "aten.bmm.default": _product,
    "aten.addmm.default": _added_product,
}
"""Operator -> the shape of its result, whose elements lie in the order of its axes; None where it is not told."""

WRITTEN: Mapping[str, Rule] = {
    **{f"aten.{name}_.default": _alike for name in _ALIKE if name != "gelu"},
    **{f"aten.{name}_.Tensor": _pair for name in _PAIRS},
}
"""Operators that write their result over the first operand, and return that."""
