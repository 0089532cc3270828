"""Modules that are one op of the domain ``torch.nn``, and what its operands are. For rules see `axes.rules.modules`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphneurons.load.programs import Argument, Call, Ref


@dataclass(frozen=True, slots=True)
class Leaf:
    """``operands``: arguments of ``forward`` that are operands; ``stored``: parameters and buffers that follow them, in
    the order of the rule; ``attributes``: names of the module's own attributes the rule reads; ``alike``: what it
    returns has the shape and the type of what it is given."""

    operands: int
    stored: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    alike: bool = False


_WEIGHTS = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var")

LEAVES: Mapping[str, Leaf] = {
    "Linear": Leaf(1, _WEIGHTS),
    "NonDynamicallyQuantizableLinear": Leaf(1, _WEIGHTS),
    "Conv1D": Leaf(1, _WEIGHTS),
    "Bilinear": Leaf(2, _WEIGHTS),
    **{f"Conv{d}d": Leaf(1, _WEIGHTS, ("groups",)) for d in (1, 2, 3)},
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
