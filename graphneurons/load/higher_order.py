"""Higher-order operators (cond, while_loop, scan, wrap, ...) entered, with the ops of `graphneurons.graph.CONTROL`.

A handler writes the bodies and the ops that join them and returns None, or changes nothing and returns why not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphneurons.load.programs import Argument, Body, Call, Program, Ref, Writer

Handler = Callable[[Writer, Call, Program, dict[str, str], str, tuple[str, ...]], "str | None"]


def _items(argument: Argument) -> tuple[Argument, ...]:
    return argument if isinstance(argument, tuple) else () if argument is None else (argument,)


def _below(prefix: str, call: Call, part: str = "") -> str:
    return "/".join(filter(None, (prefix, call.name, part)))


def _enter(
    writer: Writer, body: Argument, operands: Sequence[str], prefix: str, scope: tuple[str, ...]
) -> list[str] | None:
    """The outputs of ``body`` on ``operands``, which are flat names."""
    if not isinstance(body, Body) or len(body.program.inputs) > len(operands):
        return None
    given = dict(zip(body.program.inputs, operands, strict=False))
    return writer.write(body.program, given, prefix, scope)


def _name_results(writer: Writer, call: Call, program: Program, frame: dict[str, str], results: Sequence[str]) -> None:
    """The results of a body are the results of the call."""
    for name, flat in zip(call.results, results, strict=False):
        if name:
            frame[name] = flat


def _called(skip: int) -> Handler:
    """An operator that calls its body: the body is argument ``skip``, its operands are all that follow."""

    def handler(
        writer: Writer, call: Call, program: Program, frame: dict[str, str], prefix: str, scope: tuple[str, ...]
    ) -> str | None:
        given = [argument for _, argument in call.arguments]
        at = next((index for index, argument in enumerate(given) if isinstance(argument, Body)), None)
        if at is None:
            return "it has no body"
        operands = _flattened(given[at + 1 :])
        flat = [writer.flat(item, frame) for item in operands if not isinstance(item, str)]
        results = _enter(writer, given[at], flat, _below(prefix, call), scope)
        if results is None:
            return "its operands do not fit its body"
        _name_results(writer, call, program, frame, results)
        return None

    return handler


def _flattened(arguments: Sequence[Argument]) -> list[Argument]:
    found: list[Argument] = []
    for argument in arguments:
        found.extend(argument if isinstance(argument, tuple) else (argument,))
    return found


def _cond(
    writer: Writer, call: Call, program: Program, frame: dict[str, str], prefix: str, scope: tuple[str, ...]
) -> str | None:
    given = [argument for _, argument in call.arguments]
    bodies = [argument for argument in given if isinstance(argument, Body)]
    if len(bodies) != 2:
        return "a branch is missing"
    operands = [writer.flat(item, frame) for item in _items(given[-1])]
    results = []
    for part, body in zip(("true", "false"), bodies, strict=True):
        made = _enter(writer, body, operands, _below(prefix, call, part), (*scope, *call.scope))
        if made is None:
            return "its operands do not fit its branches"
        results.append(made)
    for index, name in enumerate(call.results):
        if name:
            flat = writer.define(name, program, frame, prefix)
            sources = [made[index] for made in results if index < len(made)]
            writer.control("Merge", f"{_below(prefix, call)}/{index}", sources, flat, call.scope)
    return None


def _while_loop(
    writer: Writer, call: Call, program: Program, frame: dict[str, str], prefix: str, scope: tuple[str, ...]
) -> str | None:
    given = [argument for _, argument in call.arguments]
    if len(given) < 3 or not isinstance(given[1], Body):
        return "its body is missing"
    body = given[1].program
    states = [writer.flat(item, frame) for item in _items(given[2])]
    more = [writer.flat(item, frame) for item in _items(given[3])] if len(given) > 3 else []
    return _carried(writer, call, program, frame, prefix, scope, body, states, more, [])


def _scan(
    writer: Writer, call: Call, program: Program, frame: dict[str, str], prefix: str, scope: tuple[str, ...]
) -> str | None:
    given = [argument for _, argument in call.arguments]
    if len(given) < 3 or not isinstance(given[0], Body):
        return "its body is missing"
    states = [writer.flat(item, frame) for item in _items(given[1])]
    sliced = [writer.flat(item, frame) for item in _items(given[2])]
    more = [writer.flat(item, frame) for item in _items(given[-1])] if len(given) > 3 else []
    return _carried(writer, call, program, frame, prefix, scope, given[0].program, states, more, sliced)


def _map(
    writer: Writer, call: Call, program: Program, frame: dict[str, str], prefix: str, scope: tuple[str, ...]
) -> str | None:
    given = [argument for _, argument in call.arguments]
    if len(given) < 2 or not isinstance(given[0], Body):
        return "its body is missing"
    sliced = [writer.flat(item, frame) for item in _items(given[1])]
    more = [writer.flat(item, frame) for item in _items(given[2])] if len(given) > 2 else []
    return _carried(writer, call, program, frame, prefix, scope, given[0].program, [], more, sliced)


def _carried(
    writer: Writer, call: Call, program: Program, frame: dict[str, str], prefix: str, scope: tuple[str, ...],
    body: Program, states: Sequence[str], more: Sequence[str], sliced: Sequence[str],
) -> str | None:  # fmt: skip
    """A loop over ``body``: states are carried, ``sliced`` operands unstacked along axis 0, further results stacked.

    A state the body returns unchanged is no state: it keeps its outer name."""
    if len(body.inputs) > len(states) + len(sliced) + len(more) or len(body.inputs) < len(states) + len(sliced):
        return "its operands do not fit its body"
    below, inside = _below(prefix, call), (*scope, *call.scope)
    returned = body.outputs[: len(states)]
    fixed = [isinstance(back, Ref) and back.name == name for back, name in zip(returned, body.inputs, strict=False)]
    given: dict[str, str] = {}
    carries: list[tuple[int, str]] = []
    for index, name in enumerate(body.inputs):
        if index < len(states):
            if fixed[index]:
                given[name] = states[index]
            else:
                given[name] = writer.value(name, below)
                carries.append((index, given[name]))
        elif index < len(states) + len(sliced):
            given[name] = writer.value(name, below)
            source = (sliced[index - len(states)],)
            writer.control("Unstack", f"{below}/{name}", source, given[name], inside, {"axis": 0})
        else:
            given[name] = more[index - len(states) - len(sliced)]
    place = len(writer.ops)
    results = writer.write(body, given, below, inside)
    written = writer.ops[place:]
    del writer.ops[place:]
    for index, flat in carries:
        writer.control("Carry", f"{below}/{flat}", (states[index],), flat, inside, {"feedback": results[index]})
    writer.ops.extend(written)
    for index, name in enumerate(call.results):
        if not name:
            continue
        if index < len(states) and fixed[index]:
            frame[name] = states[index]
            continue
        flat = writer.define(name, program, frame, prefix)
        if index < len(states):
            writer.control("Merge", f"{below}/{index}", (states[index], results[index]), flat, call.scope)
        elif index < len(results):
            writer.control("Stack", f"{below}/{index}", (results[index],), flat, call.scope, {"axis": 0})
    return None


def _with_effects(
    writer: Writer, call: Call, program: Program, frame: dict[str, str], prefix: str, scope: tuple[str, ...]
) -> str | None:
    """A call with a token before its operands and results: prints and asserts. The token carries nothing."""
    return None if not any(call.results) else "it has results besides its token"


HANDLERS: Mapping[str, Handler] = {
    "higher_order.cond": _cond,
    "higher_order.while_loop": _while_loop,
    "higher_order.scan": _scan,
    "higher_order.map_impl": _map,
    "higher_order.with_effects": _with_effects,
    **{
        f"higher_order.{name}": _called(0)
        for name in (
            "wrap", "wrap_with_set_grad_enabled", "wrap_with_autocast", "wrap_activation_checkpoint",
            "tag_activation_checkpoint", "invoke_subgraph", "hints_wrapper", "strict_mode", "run_const_graph",
            "dynamo_bypassing_wrapper", "inductor_compiled_code", "checkpoint",
        )
    },
}  # fmt: skip
"""Operator -> how it is entered."""
