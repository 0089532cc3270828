"""Cases of onnxruntime's internal domains, of FlexAttention, and of ops nothing runs any more."""

from __future__ import annotations

from typing import Any

from tests.rules.case import SCALE, U8_ZERO, Case, Operand, f, ids, positive, u8

_NHWC = "com.ms.internal.nhwc"
_NO_KERNEL = "NOT_IMPLEMENTED"


def nhwc(op: str, *operands: Operand, **more: Any) -> Case:
    return Case(op, operands, domain=_NHWC, refused=_NO_KERNEL, **more)


_WINDOW = {"kernel_shape": [2, 2]}

INTERNAL: tuple[Case, ...] = (
    nhwc("Conv", f(2, 5, 5, 4), f(6, 2, 3, 3), f(6), attributes={"group": 2}, weights=(1,)),
    nhwc("ConvTranspose", f(2, 4, 4, 3), f(3, 5, 3, 3), f(5), weights=(1,)),
    nhwc("ConvTranspose", f(2, 4, 4, 6), f(6, 4, 3, 3), f(8), variant="grouped", attributes={"group": 2}, weights=(1,)),
    nhwc("AveragePool", f(2, 4, 4, 3), attributes=_WINDOW),
    nhwc("MaxPool", f(2, 4, 4, 3), attributes=_WINDOW),
    nhwc("LpPool", f(2, 4, 4, 3), attributes=_WINDOW),
    nhwc("MaxUnpool", f(2, 2, 2, 3), ids(16, 2, 2, 2, 3), attributes=_WINDOW),
    nhwc("GlobalAveragePool", f(2, 4, 4, 3)),
    nhwc("GlobalMaxPool", f(2, 4, 4, 3)),
    nhwc("GlobalLpPool", f(2, 4, 4, 3)),
    nhwc("BatchNormalization", f(2, 4, 4, 3), f(3), f(3), f(3), positive(3)),
    nhwc("InstanceNormalization", f(2, 4, 4, 3), f(3), f(3)),
    nhwc("LRN", f(2, 4, 4, 5), attributes={"size": 3}),
    nhwc("GridSample", f(2, 4, 4, 3), f(2, 5, 6, 2)),
    nhwc(
        "QLinearAveragePool", u8(2, 4, 4, 3), SCALE, U8_ZERO, SCALE, U8_ZERO, attributes={**_WINDOW, "channels_last": 1}
    ),
    Case(
        "FlexAttention",
        (f(2, 4, 3, 5), f(2, 2, 6, 5), f(2, 2, 6, 7)),
        domain="ai.onnx.preview",
        opset=24,
        refused="FlexAttention",
    ),
)
