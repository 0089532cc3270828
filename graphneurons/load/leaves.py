"""Modules that are one op of the domain ``torch.nn``, and what its operands are. For rules see `axes.rules.modules`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphneurons.load.programs import Argument, Call, Ref

Shape = tuple[int, ...]


def _not_told(module: Any, shape: Shape) -> None:
    return None


def _linear(module: Any, shape: Shape) -> Shape | None:
    outputs, inputs = module.weight.shape
    fits = shape and shape[-1] == inputs and (module.bias is None or module.bias.shape == (outputs,))
    return (*shape[:-1], outputs) if fits else None


def _convolution(module: Any, shape: Shape) -> Shape | None:
    """Windows that fit into every axis after the first two, both ends padded with zeros."""
    outputs, inputs, *taps = module.weight.shape
    padding, dilation, stride = module.padding, module.dilation, module.stride
    if module.padding_mode != "zeros" or len(shape) != 2 + len(taps) or shape[1] != inputs * module.groups:
        return None
    if any(not isinstance(each, tuple) or len(each) != len(taps) for each in (padding, dilation, stride)):
        return None
    if outputs % module.groups or not (module.bias is None or module.bias.shape == (outputs,)):
        return None
    sizes = [
        (size + 2 * ends - gap * (tap - 1) - 1) // step + 1
        for size, ends, gap, tap, step in zip(shape[2:], padding, dilation, taps, stride, strict=True)
    ]
    return (shape[0], outputs, *sizes) if min(shape[0], *sizes) > 0 else None


@dataclass(frozen=True, slots=True)
class Leaf:
    """``operands``: arguments of ``forward`` that are operands; ``stored``: parameters and buffers that follow them, in
    the order of the rule; ``attributes``: names of the module's own attributes the rule reads; ``alike``: what it
    returns has the shape and the type of what it is given; ``shape``: what shape the module returns for one that it is
    given, None if it has to be called to tell."""

    operands: int
    stored: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    alike: bool = False
    shape: Callable[[Any, Shape], Shape | None] = _not_told


_WEIGHTS = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var")

LEAVES: Mapping[str, Leaf] = {
    "Linear": Leaf(1, _WEIGHTS, shape=_linear),
    "NonDynamicallyQuantizableLinear": Leaf(1, _WEIGHTS, shape=_linear),
    "Conv1D": Leaf(1, _WEIGHTS),
    "Bilinear": Leaf(2, _WEIGHTS),
    **{f"Conv{d}d": Leaf(1, _WEIGHTS, ("groups",), shape=_convolution) for d in (1, 2, 3)},
    **{f"ConvTranspose{d}d": Leaf(1, _WEIGHTS, ("groups",)) for d in (1, 2, 3)},
    "Embedding": Leaf(1, ("weight",)),
    "LayerNorm": Leaf(1, _WEIGHTS, ("normalized_shape",), alike=True),
    "RMSNorm": Leaf(1, ("weight",), ("normalized_shape",), alike=True),
    "GroupNorm": Leaf(1, _WEIGHTS, ("num_groups",), alike=True),
    **{f"BatchNorm{d}d": Leaf(1, (*_WEIGHTS, *_STATISTICS), ("training",), alike=True) for d in (1, 2, 3)},
    **{f"InstanceNorm{d}d": Leaf(1, _WEIGHTS, alike=True) for d in (1, 2, 3)},
    "PReLU": Leaf(1, ("weight",), alike=True),
}
"""Class name -> what its op is made of."""

RECURRENT = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}


def leaf_call(
    module: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], stored: Mapping[str, Ref],
    scope: tuple[str, ...], argument: Callable[[Any], Argument],
) -> Call | None:  # fmt: skip
    """The call of ``module``, None if it is not one of the table (a subclass may compute anything)."""
    kind = type(module).__name__
    home = type(module).__module__
    if not home.startswith(("torch.nn.modules", "transformers.pytorch_utils")):
        return None
    if kind in RECURRENT:
        return _recurrent(module, name, args, kwargs, stored, scope, argument)
    leaf = LEAVES.get(kind)
    if leaf is None or kwargs or len(args) != leaf.operands or (kind == "Embedding" and module.max_norm is not None):
        return None
    arguments: list[tuple[str, Argument]] = [(f"input{number}", argument(item)) for number, item in enumerate(args)]
    arguments.extend((part, stored.get(part)) for part in leaf.stored)
    for attribute in leaf.attributes:
        value = getattr(module, attribute)
        arguments.append((attribute, tuple(value) if isinstance(value, (tuple, list)) else value))
    return Call(name, f"torch.nn.{kind}", tuple(arguments), (name,), scope)


def is_alike(call: Call) -> bool:
    """Whether the call of a leaf returns what has the shape and the type of its first operand."""
    leaf = LEAVES.get(call.target.removeprefix("torch.nn."))
    return leaf is not None and leaf.alike


def leaf_shape(module: Any, shape: Shape) -> Shape | None:
    """What shape a module of the table returns for one that its weights agree with, None if it has to be called."""
    leaf = LEAVES.get(type(module).__name__)
    changed = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return None if leaf is None or changed else leaf.shape(module, shape)


def _recurrent(
    module: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], stored: Mapping[str, Ref],
    scope: tuple[str, ...], argument: Callable[[Any], Argument],
) -> Call | None:  # fmt: skip
    """LSTM, GRU and RNN, as the ATen operator that PyTorch calls for all their layers."""
    import torch

    if not args or not isinstance(args[0], torch.Tensor):
        return None
    kind = RECURRENT[type(module).__name__]
    if kind == "rnn":
        kind = f"rnn_{module.nonlinearity}"
    state = kwargs.get("hx", args[1] if len(args) > 1 else None)
    params = tuple(stored[part] for group in module._all_weights for part in group)
    given: tuple[tuple[str, Argument], ...] = (
        ("input", argument(args[0])),
        ("hx", None if state is None else argument(state)),
        ("params", params),
        ("has_biases", module.bias),
        ("num_layers", module.num_layers),
        ("bidirectional", module.bidirectional),
        ("batch_first", module.batch_first),
    )
    results = (name, f"{name}.h", f"{name}.c") if kind == "lstm" else (name, f"{name}.h")
    return Call(name, f"aten.{kind}.input", given, results, scope)
