"""The notation of rules: one line of text says what an op does with every factor of its operands.

    conv: n (g i) *s, (g o) i *k, ~(g o) -> n (g o) *t | g=2

    kind:        what the op is, before the colon (`conv`, `linear`, `lookup`, `normalisation`, `map`, `sum`, ...)
    n            an axis that is one factor; factors of one name are one index
    (g i)        an axis that is a product of factors, the outermost first;  1  is an axis of size one
    .            a tensor without axes
    *s           any number of axes, s0 s1 ...; operands that share one broadcast like numpy, aligned at the right
    _            an operand that carries no features (a shape, a scalar, a mask), or is left out
    ~ ...        a modulator: aligned with factors, neither contracted nor free (a bias, a gain)
    % ...        a modulator that quantizes: a scale or a zero point
    < ...        a state: the op's own output of the step before; it contracts, and where it is constant it modulates
    @v           a factor picked by an index (the rows of an embedding)
    ^d           a factor that is kept, but mixed along (softmax, the normalised axes of a LayerNorm)
    -> ...       the sums the op makes: what they hold are neurons; several outputs are separated by commas
    => ...       what the op puts out, where that is not the sums themselves (a recurrent cell has gates inside)
    | g=2 #=64   sizes of factors that shapes do not tell; `#` is the number of synapses per neuron of a packed weight

A factor of a weight is a *neuron* factor if it is in the sums and in no other contracting operand, a *synapse* factor
if it is not in the sums, and *shared* if it is in the sums and in another contracting operand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from graphneurons.errors import RuleError

PACKED = "#"
_TOKEN = re.compile(r"\s*(->|=>|[(),|:~%<@^*.=]|#|[A-Za-z_][A-Za-z0-9_]*|\d+)")


@dataclass(frozen=True, slots=True)
class AxisPattern:
    """One axis, or (``variadic``) any number of them. ``factors`` is empty for an axis of size one."""

    factors: tuple[str, ...]
    variadic: bool = False
    picked: bool = False
    mixed: bool = False

    def __str__(self) -> str:
        mark = "@" if self.picked else "^" if self.mixed else ""
        if self.variadic:
            return f"{mark}*{self.factors[0]}"
        if not self.factors:
            return "1"
        return mark + (self.factors[0] if len(self.factors) == 1 else f"({' '.join(self.factors)})")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One operand or result. ``mark`` is ``"_"`` (ignored), ``"~"``, ``"%"``, ``"<"`` or ``""``."""

    axes: tuple[AxisPattern, ...]
    mark: str = ""

    def __str__(self) -> str:
        if self.mark == "_":
            return "_"
        return self.mark + (" ".join(map(str, self.axes)) or ".")

    @property
    def contracts(self) -> bool:
        """Whether its factors take part in the contraction (not ignored, not a modulator)."""
        return self.mark in ("", "<")

    @property
    def modulates(self) -> bool:
        return self.mark in ("~", "%")

    @property
    def names(self) -> frozenset[str]:
        """Factor names, variadic ones under their base name."""
        return frozenset(name for axis in self.axes for name in axis.factors)


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed rule; ``str(rule)`` prints it in normal form, and parsing that gives the same rule."""

    kind: str
    operands: tuple[Pattern, ...]
    sums: tuple[Pattern, ...]
    results: tuple[Pattern, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        text = f"{self.kind}: {_joined(self.operands)} -> {_joined(self.sums)}"
        if self.results != self.sums:
            text += f" => {_joined(self.results)}"
        if self.sizes:
            text += " | " + " ".join(f"{name}={size}" for name, size in self.sizes.items())
        return text

    def __hash__(self) -> int:
        return hash(str(self))


def _joined(patterns: tuple[Pattern, ...]) -> str:
    return ", ".join(map(str, patterns))


@lru_cache(maxsize=4096)
def parse(text: str) -> Rule:
    """The rule that ``text`` writes. Raises `RuleError` naming the text and the place where it goes wrong.

    >>> str(parse("linear: *b i,o i , ~o->*b o"))
    'linear: *b i, o i, ~o -> *b o'
    """
    tokens = _Tokens(text)
    kind = tokens.word("a kind such as `linear`")
    tokens.expect(":")
    operands = _patterns(tokens)
    tokens.expect("->")
    sums = _patterns(tokens)
    results = sums
    if tokens.accept("=>"):
        results = _patterns(tokens)
    sizes: dict[str, int] = {}
    if tokens.accept("|"):
        while not tokens.done:
            name = tokens.word("a factor name")
            tokens.expect("=")
            sizes[name] = tokens.number()
    if not tokens.done:
        tokens.fail("the end of the rule")
    rule = Rule(kind, operands, sums, results, sizes)
    known = frozenset().union(*(pattern.names for pattern in (*operands, *sums, *results)))
    for name in sizes:
        if name != PACKED and name not in known:
            raise RuleError(
                f"rule `{text}` gives a size to `{name}`, which is in no operand; remove it or name the axis"
            )
    return rule


def _patterns(tokens: _Tokens) -> tuple[Pattern, ...]:
    patterns = [_pattern(tokens)]
    while tokens.accept(","):
        patterns.append(_pattern(tokens))
    return tuple(patterns)


def _pattern(tokens: _Tokens) -> Pattern:
    if tokens.accept("_"):
        return Pattern((), "_")
    mark = tokens.accept("~", "%", "<") or ""
    if tokens.accept("."):
        return Pattern((), mark)
    if tokens.peek in (",", "->", "=>", "|", None):
        tokens.fail("an operand (`_` for one that does not matter, `.` for a scalar)")
    axes: list[AxisPattern] = []
    while tokens.peek not in (",", "->", "=>", "|", None):
        axes.append(_axis(tokens))
    return Pattern(tuple(axes), mark)


def _axis(tokens: _Tokens) -> AxisPattern:
    mark = tokens.accept("@", "^") or ""
    picked, mixed = mark == "@", mark == "^"
    if tokens.accept("*"):
        return AxisPattern((tokens.word("a factor name after `*`"),), True, picked, mixed)
    if tokens.accept("("):
        names: list[str] = []
        while not tokens.accept(")"):
            names.append(tokens.word("a factor name or `)`"))
        return AxisPattern(tuple(names), False, picked, mixed)
    if tokens.accept("1"):
        return AxisPattern(())
    return AxisPattern((tokens.word("an axis"),), False, picked, mixed)


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text = text
        self.items: list[str] = []
        self.starts: list[int] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise RuleError(f"rule `{text}`: cannot read `{text[at:].strip()[:20]}` at column {at + 1}")
            self.items.append(match.group(1))
            self.starts.append(match.start(1))
            at = match.end()
        self.at = 0

    @property
    def done(self) -> bool:
        return self.at >= len(self.items)

    @property
    def peek(self) -> str | None:
        return None if self.done else self.items[self.at]

    def accept(self, *wanted: str) -> str | None:
        if self.peek in wanted:
            self.at += 1
            return self.items[self.at - 1]
        return None

    def expect(self, wanted: str) -> None:
        if not self.accept(wanted):
            self.fail(f"`{wanted}`")

    def word(self, wanted: str) -> str:
        token = self.peek
        if token is None or not (token[0].isalpha() or token == PACKED):
            self.fail(wanted)
        self.at += 1
        return str(token)

    def number(self) -> int:
        token = self.peek
        if token is None or not token.isdigit():
            self.fail("a number")
        self.at += 1
        return int(str(token))

    def fail(self, wanted: str) -> None:
        where = f"at column {self.starts[self.at] + 1}, `{self.peek}`" if not self.done else "at its end"
        raise RuleError(f"rule `{self.text}`: expected {wanted} {where}")


def expand(axes: tuple[AxisPattern, ...], rank: int, longest: Mapping[str, int]) -> tuple[AxisPattern, ...] | None:
    """``axes`` with the variadic ones written out for a tensor of ``rank``, or None if no length fits.

    ``longest`` is the length a variadic factor has where it is longest: names are aligned at the right, as numpy
    broadcasts. At most one variadic axis may be of unknown length.
    """
    plain = sum(not axis.variadic for axis in axes)
    variadic = [axis for axis in axes if axis.variadic]
    free = rank - plain
    if (free and not variadic) or free < 0:
        return None
    if len(variadic) > 1:
        free -= sum(longest[axis.factors[0]] for axis in variadic[:-1] if axis.factors[0] in longest)
        if free < 0:
            return None
    return tuple(_written_out(axes, variadic, free, longest))


def _written_out(
    axes: tuple[AxisPattern, ...], variadic: list[AxisPattern], free: int, longest: Mapping[str, int]
) -> Iterator[AxisPattern]:
    for axis in axes:
        if not axis.variadic:
            yield axis
            continue
        name = axis.factors[0]
        length = free if axis is variadic[-1] else longest.get(name, 0)
        first = longest.get(name, length) - length
        for index in range(first, first + length):
            yield AxisPattern((f"{name}{index}",), False, axis.picked, axis.mixed)
