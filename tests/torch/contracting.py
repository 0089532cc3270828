"""Cases of ATen ops that contract, convolve, recur, attend."""

from __future__ import annotations

from typing import Any

import torch

from tests.rules.case import f, i8, positive
from tests.torch.calling import Call

_STRIDED = {"stride": [1], "padding": [0], "dilation": [1], "transposed": False, "output_padding": [0], "groups": 1}
_STRIDED_2D = {name: value * 2 if isinstance(value, list) else value for name, value in _STRIDED.items()}
_BACKEND = {"benchmark": False, "deterministic": False, "cudnn_enabled": False, "allow_tf32": False}
_UNIT = (("h", "u"),)
_STEPS: dict[str, Any] = {"confined": False}


def _layers(kind: str, gates: int, *, batch_first: bool, packed: bool = False) -> Any:
    """Runs one bidirectional layer from stacked tensors, as the loader writes it."""

    def run(x: Any, *rest: Any) -> Any:
        states, tensors = (rest[:2], rest[2:]) if kind == "lstm" else (rest[:1], rest[1:])
        hx: Any = list(states) if kind == "lstm" else states[0]
        params = [tensor[side].contiguous() for side in range(tensors[0].shape[0]) for tensor in tensors]
        return getattr(torch.ops.aten, kind).input(
            x, hx, params, True, 1, 0.0, False, tensors[0].shape[0] == 2, batch_first
        )

    return run


CONTRACTING: tuple[Call, ...] = (
    Call("linear", (f(2, 3, 4), f(5, 4), f(5)), weights=(1,)),
    Call("linear", (f(2, 4), f(4)), variant="one neuron", weights=(1,)),
    Call("addmm", (f(5), f(3, 4), f(4, 5)), weights=(2,)),
    Call("addmm", (f(3, 1), f(3, 4), f(4, 5)), variant="weight left", weights=(1,)),
    Call("_addmm_activation", (f(5), f(3, 4), f(4, 5)), weights=(2,)),
    Call("addmv", (f(3), f(3, 4), f(4)), weights=(1,)),
    Call("addbmm", (f(3, 5), f(2, 3, 4), f(2, 4, 5)), weights=(2,)),
    Call("baddbmm", (f(5), f(2, 3, 4), f(2, 4, 5)), weights=(2,)),
    Call("addr", (f(3, 5), f(3), f(5)), fixed={"m": "it is added", "o": "it is added"}),
    Call("mm", (f(3, 4), f(4, 5)), weights=(1,)),
    Call("mm", (f(3, 4), f(4, 5)), variant="weight left", weights=(0,)),
    Call("bmm", (f(2, 3, 4), f(2, 4, 5)), weights=(1,)),
    Call("matmul", (f(2, 3, 4), f(4, 5)), weights=(1,)),
    Call("matmul", (f(3, 4), f(2, 4, 5)), variant="weight left", weights=(0,)),
    Call("matmul", (f(4), f(4, 5)), variant="vector left", weights=(1,)),
    Call("mv", (f(3, 4), f(4)), weights=(0,)),
    Call("dot", (f(4), f(4)), weights=(1,)),
    Call("vdot", (f(4), f(4)), weights=(1,)),
    Call("inner", (f(2, 3, 4), f(5, 4)), weights=(1,)),
    Call("outer", (f(3), f(4))),
    Call("ger", (f(3), f(4))),
    Call("tensordot", (f(2, 3, 4), f(4, 5, 3)), attributes={"dims_self": (1, 2), "dims_other": (2, 0)}, weights=(1,)),
    Call("einsum", (f(2, 3, 4), f(3, 4, 5)), attributes={"equation": "bgi,gio->bgo"}, weights=(1,)),
    Call("bilinear", (f(2, 3), f(2, 4), f(5, 3, 4), f(5)), weights=(2,)),
    Call(
        "_trilinear",
        (f(2, 3), f(5, 3, 4), f(2, 4)),
        attributes={"expand1": (1, 3), "expand2": (0,), "expand3": (1, 2), "sumdim": (2, 3), "unroll_dim": 1},
        weights=(1,),
    ),
    Call("_int_mm", (i8(17, 8), i8(8, 16)), weights=(1,)),
    Call("_weight_int8pack_mm", (f(3, 8), i8(16, 8), positive(16)), weights=(1,)),
    Call("conv1d", (f(2, 3, 7), f(5, 3, 3), f(5)), weights=(1,)),
    Call("conv2d", (f(2, 6, 5, 5), f(4, 3, 3, 3), f(4)), variant="grouped", attributes={"groups": 2}, weights=(1,)),
    Call("conv2d", (f(3, 5, 5), f(4, 3, 3, 3)), variant="without batch", weights=(1,)),
    Call("conv2d", (f(1, 3, 5, 5), f(6, 1, 3, 3)), variant="depthwise", attributes={"groups": 3}, weights=(1,)),
    Call("conv3d", (f(1, 3, 4, 4, 4), f(2, 3, 2, 2, 2), f(2)), weights=(1,)),
    Call("convolution", (f(2, 3, 7), f(5, 3, 3), f(5)), attributes=_STRIDED, weights=(1,)),
    Call(
        "convolution",
        (f(2, 6, 5, 5), f(6, 4, 3, 3), f(8)),
        variant="transposed",
        attributes={**_STRIDED_2D, "transposed": True, "groups": 2},
        weights=(1,),
    ),
    Call("_convolution", (f(2, 3, 7), f(5, 3, 3), f(5)), attributes={**_STRIDED, **_BACKEND}, weights=(1,)),
    Call("conv_transpose1d", (f(2, 6, 5), f(6, 4, 3), f(8)), attributes={"groups": 2}, weights=(1,)),
    Call("conv_transpose2d", (f(2, 3, 4, 4), f(3, 5, 3, 3), f(5)), weights=(1,)),
    Call("conv_transpose3d", (f(1, 3, 3, 3, 3), f(3, 2, 2, 2, 2)), weights=(1,)),
    Call("conv_tbc", (f(7, 2, 3), f(3, 3, 5), f(5)), weights=(1,)),
    Call(
        "slow_conv3d", (f(1, 3, 4, 4, 4), f(2, 3, 2, 2, 2), f(2)), attributes={"kernel_size": (2, 2, 2)}, weights=(1,)
    ),
    Call("slow_conv_dilated2d", (f(1, 3, 5, 5), f(4, 3, 3, 3), f(4)), attributes={"kernel_size": (3, 3)}, weights=(1,)),
    Call(
        "slow_conv_dilated3d",
        (f(1, 3, 4, 4, 4), f(2, 3, 2, 2, 2), f(2)),
        attributes={"kernel_size": (2, 2, 2)},
        weights=(1,),
    ),
    Call("thnn_conv2d", (f(1, 3, 5, 5), f(4, 3, 3, 3), f(4)), attributes={"kernel_size": (3, 3)}, weights=(1,)),
    Call(
        "mkldnn_convolution",
        (f(1, 6, 5, 5), f(4, 3, 3, 3), f(4)),
        attributes={"padding": (0, 0), "stride": (1, 1), "dilation": (1, 1), "groups": 2},
        weights=(1,),
    ),
    Call(
        "lstm",
        (f(1, 2, 3), f(2, 2, 4), f(2, 2, 4), f(2, 16, 3), f(2, 16, 4), f(2, 16), f(2, 16)),
        variant="one step",
        weights=(3, 4),
        outputs=3,
        together=_UNIT,
        run=_layers("lstm", 4, batch_first=False),
    ),
    Call(
        "lstm",
        (f(2, 5, 3), f(1, 2, 4), f(1, 2, 4), f(1, 16, 3), f(1, 16, 4), f(1, 16), f(1, 16)),
        variant="five steps",
        attributes={"batch_first": 1},
        weights=(3, 4),
        outputs=3,
        together=_UNIT,
        run=_layers("lstm", 4, batch_first=True),
        **_STEPS,
    ),
    Call(
        "lstm",
        (f(1, 2, 3), f(1, 2, 5), f(1, 2, 4), f(1, 16, 3), f(1, 16, 5), f(1, 16), f(1, 16), f(1, 5, 4)),
        variant="projected",
        weights=(3, 4, 7),
        outputs=3,
        together=(("p", "u"),),
        run=_layers("lstm", 4, batch_first=False),
        **_STEPS,
    ),
    Call(
        "gru",
        (f(1, 2, 3), f(2, 2, 4), f(2, 12, 3), f(2, 12, 4), f(2, 12), f(2, 12)),
        weights=(2, 3),
        outputs=2,
        together=_UNIT,
        run=_layers("gru", 3, batch_first=False),
    ),
    *(
        Call(
            kind,
            (f(1, 2, 3), f(2, 2, 4), f(2, 4, 3), f(2, 4, 4), f(2, 4), f(2, 4)),
            weights=(2, 3),
            outputs=2,
            together=_UNIT,
            run=_layers(kind, 1, batch_first=False),
        )
        for kind in ("rnn_tanh", "rnn_relu")
    ),
    Call(
        "lstm_cell",
        (f(2, 3), f(2, 4), f(2, 4), f(16, 3), f(16, 4), f(16), f(16)),
        lists={"hx": 2},
        weights=(3, 4),
        outputs=2,
        together=_UNIT,
    ),
    Call("gru_cell", (f(2, 3), f(2, 4), f(12, 3), f(12, 4), f(12), f(12)), weights=(2, 3), together=_UNIT),
    *(
        Call(kind, (f(2, 3), f(2, 4), f(4, 3), f(4, 4), f(4), f(4)), weights=(2, 3), together=_UNIT)
        for kind in ("rnn_tanh_cell", "rnn_relu_cell")
    ),
    Call("scaled_dot_product_attention", (f(2, 4, 3, 5), f(2, 4, 6, 5), f(2, 4, 6, 7))),
    Call(
        "scaled_dot_product_attention",
        (f(2, 4, 3, 5), f(2, 2, 6, 5), f(2, 2, 6, 7)),
        variant="grouped heads",
        attributes={"enable_gqa": True},
    ),
    Call("_scaled_dot_product_attention_math", (f(2, 4, 3, 5), f(2, 4, 6, 5), f(2, 4, 6, 7)), outputs=2),
    Call("_scaled_dot_product_flash_attention_for_cpu", (f(2, 4, 3, 5), f(2, 4, 6, 5), f(2, 4, 6, 5)), outputs=2),
    Call(
        "_native_multi_head_attention",
        (f(2, 3, 8), f(2, 3, 8), f(2, 3, 8), f(24, 8), f(24), f(8, 8), f(8)),
        attributes={"embed_dim": 8, "num_head": 2, "need_weights": False},
        weights=(3, 5),
        confined=False,
    ),
    Call(
        "_grouped_mm",
        (f(2, 3, 8), f(2, 8, 16)),
        weights=(1,),
        run=lambda a, b: torch._grouped_mm(a.bfloat16(), b.bfloat16()).float(),
        tolerance=0.05,
        noise=1e-3,
    ),
    Call(
        "_grouped_mm",
        (f(6, 8), f(2, 8, 16), f(2)),
        variant="tokens of all groups",
        weights=(1,),
        run=lambda a, b, offs: torch.cat([a[:3] @ b[0], a[3:] @ b[1]]),
        fixed={"e": "offsets order the groups", "t": "tokens lie group by group"},
    ),
)
