"""What a case is: one op as it stands in a model, with operands that onnxruntime can be fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from graphneurons.axes.binding import Binding, bind
from graphneurons.axes.notation import parse
from graphneurons.axes.rules.site import Site
from graphneurons.axes.rules.tables import RULES
from graphneurons.graph import Op

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Random:
    """An operand of random numbers: normal for floats, ``low`` <= x < ``high`` for integers."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: int = 0
    high: int = 2

    def array(self, generator: np.random.Generator) -> Array:
        if self.dtype in ("float32", "float64", "float16"):
            return generator.standard_normal(self.shape).astype(self.dtype)
        return generator.integers(self.low, self.high, self.shape).astype(self.dtype)


@dataclass(frozen=True, slots=True)
class Positive:
    """An operand of positive numbers (a scale, a variance, a cost)."""

    shape: tuple[int, ...]
    scale: float = 1.0

    def array(self, generator: np.random.Generator) -> Array:
        return (self.scale * (0.5 + generator.random(self.shape))).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Given:
    """An operand with these numbers: indices, axes, a shape. Rules may read it."""

    numbers: Any
    dtype: str = "int64"

    def array(self, generator: np.random.Generator) -> Array:
        return np.array(self.numbers, dtype=self.dtype)


Operand = Random | Positive | Given | None


def f(*shape: int) -> Random:
    return Random(shape)


def positive(*shape: int) -> Positive:
    return Positive(shape)


def u8(*shape: int, low: int = 0, high: int = 200) -> Random:
    return Random(shape, "uint8", low, high)


def i8(*shape: int) -> Random:
    return Random(shape, "int8", -100, 100)


def i32(*shape: int, high: int = 50) -> Random:
    return Random(shape, "int32", 0, high)


def ids(rows: int, *shape: int, dtype: str = "int64") -> Random:
    """Indices of ``rows`` rows."""
    return Random(shape, dtype, 0, rows)


def ints(*numbers: int) -> Given:
    return Given(list(numbers))


def scalar(number: float, dtype: str = "float32") -> Given:
    return Given(number, dtype)


SCALE = scalar(0.05)
U8_ZERO = scalar(0, "uint8")
I8_ZERO = scalar(0, "int8")


@dataclass(frozen=True)
class Case:
    """One op where a rule applies.

    ``weights``     operands that are constant in the model
    ``outputs``     how many results are asked for
    ``initializers`` operands onnxruntime insists on having at load time
    ``together``    factors that number the same things: they are permuted at once (a unit and its own feedback)
    ``fixed``       factor -> why it cannot be permuted
    ``indices``     picked factor -> the operand that holds its indices
    ``confined``    whether a change of one neuron stays in its own place of the results (not where neurons feed others)
    ``tolerance``   of comparisons; quantized results are compared exactly where integers round
    ``noise``       what a result moves by although nothing that feeds it changed, relative to the largest (an operand
                    that is quantized by its own range)
    ``makes``       type of the results, where onnxruntime cannot infer it
    ``refused``     the words onnxruntime refuses this op with on the CPU: such a case is not proved numerically
    ``says``        a rule to try instead of the table's
    ``random``      why results differ from run to run: such a case is not proved numerically
    """

    op: str
    operands: tuple[Operand, ...]
    domain: str = ""
    variant: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[int, ...] = ()
    outputs: int = 1
    opset: int = 22
    initializers: tuple[int, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    indices: Mapping[str, int] = field(default_factory=dict)
    confined: bool = True
    tolerance: float = 1e-4
    noise: float = 1e-6
    makes: str = ""
    refused: str = ""
    random: str = ""
    says: str = ""

    @property
    def name(self) -> str:
        prefix = f"{self.domain}." if self.domain else ""
        return f"{prefix}{self.op}{f'/{self.variant}' if self.variant else ''}"

    @property
    def key(self) -> tuple[str, str]:
        return self.domain, self.op

    def arrays(self) -> list[Array | None]:
        """The operands, the same ones every time."""
        generator = np.random.default_rng(20240229)
        return [None if operand is None else operand.array(generator) for operand in self.operands]

    def site(self) -> Site:
        arrays = self.arrays()
        attributes = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.attributes.items()
        }
        op = Op(
            "case",
            self.op,
            self.domain,
            tuple("" if array is None else f"x{index}" for index, array in enumerate(arrays)),
            tuple(f"y{index}" for index in range(self.outputs)),
            attributes,
            version=self.opset if not self.domain else 1,
        )
        return Site(
            op,
            tuple(None if array is None else array.shape for array in arrays),
            tuple(
                array if isinstance(operand, Given) else None
                for operand, array in zip(self.operands, arrays, strict=True)
            ),
            tuple(index in self.weights or isinstance(operand, Given) for index, operand in enumerate(self.operands)),
        )

    def text(self) -> str:
        """What the table says of it."""
        if self.says:
            return self.says
        entry = RULES[self.key]
        return entry if isinstance(entry, str) else entry(self.site())

    def binding(self) -> Binding:
        return bind(parse(self.text()), self.site().shapes)
