"""``aten.lstm``, ``gru`` and ``rnn_*``: one call holds all layers and directions; written out, one op per layer.

PyTorch keeps two to five tensors per layer and direction (w_ih, w_hh, b_ih, b_hh, w_hr). The directions of a layer are
stacked, so that an op has the form ONNX gives it: W (d, gates*h, i), R (d, gates*h, u), biases (d, gates*h).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from graphneurons.load.programs import Argument, Call, Ref

_PARTS = ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr")


def _expanded(call: Call) -> Iterator[Call]:
    """The layers of ``call``, one after another, and its last states put together."""
    given = dict(call.arguments)
    data, states, params = given.get("input", given.get("data")), given.get("hx"), given.get("params")
    cell = call.key[1] == "lstm"
    hx = _many(states)
    layers, directions = _count(given.get("num_layers")), 2 if given.get("bidirectional") else 1
    tensors = _many(params)
    each = len(tensors) // max(1, layers * directions)
    names = [name for name in _PARTS if name in _held(each, bool(given.get("has_biases")))]
    first = bool(given.get("batch_first"))
    finals: list[list[Argument]] = [[], []]
    x: Argument = data
    for layer in range(layers):
        label = f"{call.name}_l{layer}" if layers > 1 else call.name
        arguments: list[tuple[str, Argument]] = [("input", x)]
        for number in range(2 if cell else 1):
            state = hx[number] if number < len(hx) else None
            if state is not None and layers > 1:
                cut = f"{label}_state{number}"
                bounds = (("start", layer * directions), ("end", (layer + 1) * directions))
                yield Call(cut, "aten.slice.Tensor", (("self", state), ("dim", 0), *bounds), (cut,), call.scope)
                state = Ref(cut)
            arguments.append((f"h{number}", state))
        for part in _PARTS if cell else _PARTS[:4]:
            if part not in names:
                arguments.append((part, None))
                continue
            at = names.index(part)
            rows = tuple(tensors[(layer * directions + side) * each + at] for side in range(directions))
            stacked = f"{label}_{part}"
            yield Call(stacked, "aten.stack.default", (("tensors", rows), ("dim", 0)), (stacked,), call.scope)
            arguments.append((part, Ref(stacked)))
        arguments.extend([("batch_first", int(first)), ("packed", int("data" in given))])
        made = [f"{label}_y", f"{label}_h", f"{label}_c"][: 3 if cell else 2]
        if layer == layers - 1 and call.results[0]:
            made[0] = call.results[0]
        for number in range(len(made) - 1):
            if layers == 1 and number + 1 < len(call.results) and call.results[number + 1]:
                made[number + 1] = call.results[number + 1]
            finals[number].append(Ref(made[number + 1]))
        yield Call(label, f"aten.{call.key[1]}.layer", tuple(arguments), tuple(made), call.scope)
        x = Ref(made[0])
    for number, found in enumerate(finals):
        if layers > 1 and number + 1 < len(call.results) and call.results[number + 1]:
            name = call.results[number + 1]
            joined = (("tensors", tuple(found)), ("dim", 0))
            yield Call(f"{call.name}_state{number}_out", "aten.cat.default", joined, (name,), call.scope)


def _many(argument: Argument) -> Sequence[Argument]:
    return argument if isinstance(argument, tuple) else () if argument is None else (argument,)


def _count(argument: Argument) -> int:
    return argument if isinstance(argument, int) else 1


def _held(each: int, biases: bool) -> tuple[str, ...]:
    """Which tensors a layer has when it has ``each`` of them."""
    plain = _PARTS[:4] if biases else _PARTS[:2]
    return (*plain, "w_hr") if each > len(plain) else plain


EXPANSIONS: dict[str, Callable[[Call], Iterator[Call]]] = {
    f"aten.{kind}.{overload}": _expanded
    for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    for overload in ("input", "data")
}
