"""One ATen op with operands, run by PyTorch itself: what `tests.rules.proving` asks of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tests.rules.case import Array, Case

TENSORS = {"Tensor": False, "Optional[Tensor]": False, "List[Tensor]": True, "List[Optional[Tensor]]": True}
Runner = Callable[..., Any]


@dataclass(frozen=True)
class Call(Case):
    """A `Case` of an operator of PyTorch. ``overload``: which one (found by its arguments if it is not said);
    ``lists``: how many operands go into an argument that is a list; ``run``: what computes it, where the op is not
    called like the operator is."""

    domain: str = "aten"
    overload: str = ""
    lists: Mapping[str, int] = field(default_factory=dict)
    run: Runner | None = None


class Eager:
    """The op, run eagerly on the CPU."""

    def __init__(self, case: Call) -> None:
        self.case = case
        self.arrays = case.arrays()
        self.operator = None if case.run else overload_of(case)

    def run(self, arrays: Sequence[Array | None]) -> list[Array]:
        tensors = [None if array is None else torch.from_numpy(array.copy()) for array in arrays]
        with torch.no_grad():
            torch.manual_seed(7)
            found = self.case.run(*tensors) if self.case.run else self._called(tensors)
        several = found if isinstance(found, (tuple, list)) else (found,)
        return [result.resolve_conj().numpy() for result in several if isinstance(result, torch.Tensor)][
            : self.case.outputs
        ]

    def _called(self, tensors: list[torch.Tensor | None]) -> Any:
        waiting = list(tensors)
        assert self.operator is not None
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in self.operator._schema.arguments:
            kind = TENSORS.get(str(parameter.type))
            if parameter.name in self.case.attributes:
                value = self.case.attributes[parameter.name]
                value = list(value) if isinstance(value, tuple) else value
            elif kind is None:
                value = parameter.default_value
            elif kind:
                count = self.case.lists.get(parameter.name, len(waiting))
                value, waiting = waiting[:count], waiting[count:]
            else:
                value = waiting.pop(0) if waiting else None
            if parameter.kwarg_only:
                kwargs[parameter.name] = value
            else:
                args.append(value)
        assert not waiting, f"{self.case.name}: {self.operator} takes fewer operands"
        return self.operator(*args, **kwargs)


def overload_of(case: Call) -> Any:
    """The overload that takes these operands and attributes. Raises ValueError where none does."""
    packet = getattr(getattr(torch.ops, case.domain), case.op)
    names = [case.overload] if case.overload else packet.overloads()
    for name in names:
        found = getattr(packet, name)
        if case.overload or _takes(found._schema, case):
            return found
    raise ValueError(f"no overload of {case.op} takes {len(case.operands)} operands and {sorted(case.attributes)}")


def _takes(schema: Any, case: Call) -> bool:
    parameters = {parameter.name: parameter for parameter in schema.arguments}
    if any(parameter.is_out or "Dimname" in str(parameter.type) for parameter in schema.arguments):
        return False
    if any(name not in parameters for name in case.attributes):
        return False
    slots = [p for p in schema.arguments if str(p.type) in TENSORS and p.name not in case.attributes]
    missing = [
        p
        for p in schema.arguments
        if str(p.type) not in TENSORS and p.name not in case.attributes and not p.has_default_value()
    ]
    if missing:
        return False
    if any(TENSORS[str(p.type)] for p in slots):
        return True
    least = sum(str(p.type) == "Tensor" and not p.has_default_value() for p in slots)
    return least <= len(case.operands) <= len(slots)
