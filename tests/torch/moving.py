"""Cases of ATen's layout ops: operands are moved as numbers by PyTorch, and as planes by the package."""

from __future__ import annotations

import torch

from tests.rules.case import Given, f
from tests.torch.calling import Call

_TAKE = (Given([2, 0, 2]),)

MOVING: tuple[Call, ...] = (
    *(Call(name, (f(2, 6, 4),), attributes={"size": (2, -1, 2)}) for name in ("view", "_unsafe_view", "view_copy")),
    Call("reshape", (f(2, 6, 4),), attributes={"shape": (-1, 8)}),
    Call("reshape", (f(1, 1),), variant="scalar", attributes={"shape": ()}),
    Call("_reshape_alias", (f(2, 6),), attributes={"size": (3, 4), "stride": (4, 1)}),
    Call("resize", (f(2, 6),), attributes={"size": (3, 4)}),
    *(Call(name, (f(2, 6), f(3, 4))) for name in ("view_as", "reshape_as")),
    Call("ravel", (f(2, 6),)),
    *(Call(name, (f(2, 3, 4),), attributes={"dims": (2, 0, -2)}) for name in ("permute", "permute_copy")),
    *(Call(name, (f(2, 3, 4),), attributes={"dim0": -1, "dim1": 0}) for name in ("transpose", "transpose_copy")),
    Call("swapaxes", (f(2, 3, 4),), attributes={"axis0": 0, "axis1": 1}),
    Call("swapdims", (f(2, 3, 4),), attributes={"dim0": 0, "dim1": 1}),
    *(Call(name, (f(2, 3),)) for name in ("t", "t_copy", "numpy_T", "matrix_H")),
    *(Call(name, (f(2, 3, 4),)) for name in ("mT", "mH", "adjoint")),
    *(
        Call(name, (f(2, 3, 4, 5),), attributes={"source": (0, 1), "destination": (-1, 0)}, overload="intlist")
        for name in ("movedim", "moveaxis")
    ),
    Call("movedim", (f(2, 3, 4),), variant="one axis", attributes={"source": 0, "destination": 2}, overload="int"),
    *(Call(name, (f(3, 1),), attributes={"size": (2, -1, 4)}) for name in ("expand", "expand_copy")),
    Call("broadcast_to", (f(3, 1),), attributes={"size": (2, 3, 4)}),
    Call("expand_as", (f(3, 1), f(2, 3, 4))),
    Call("broadcast_tensors", (f(3, 1), f(2, 1, 4)), outputs=2),
    *(
        Call(name, (f(5, 7),), attributes={"dim": 1, "start": 1, "end": -1, "step": 2})
        for name in ("slice", "slice_copy")
    ),
    *(Call(name, (f(5, 7),), attributes={"dim": 1, "start": 2, "length": 3}) for name in ("narrow", "narrow_copy")),
    *(Call(name, (f(5, 7),), attributes={"dim": -1, "index": -2}) for name in ("select", "select_copy")),
    *(Call(name, (f(3, 4),), attributes={"dim": 1}, outputs=4) for name in ("unbind", "unbind_copy")),
    *(
        Call(name, (f(3, 7),), attributes={"split_size": 3, "dim": 1}, outputs=3)
        for name in ("split", "split_copy", "unsafe_split")
    ),
    Call(
        "split", (f(3, 7),), variant="sizes", attributes={"split_size": (2, 5), "dim": 1}, overload="sizes", outputs=2
    ),
    *(
        Call(name, (f(3, 7),), attributes={"split_sizes": (2, 5), "dim": 1}, outputs=2)
        for name in ("split_with_sizes", "split_with_sizes_copy", "unsafe_split_with_sizes")
    ),
    Call("split_with_sizes", (f(3, 7),), variant="one piece", attributes={"split_sizes": (7,), "dim": 1}),
    *(Call(name, (f(3, 7),), attributes={"chunks": 3, "dim": 1}, outputs=3) for name in ("chunk", "unsafe_chunk")),
    Call("tensor_split", (f(3, 7),), attributes={"sections": 3, "dim": 1}, outputs=3),
    Call("tensor_split", (f(3, 7),), variant="places", attributes={"indices": (2, 4), "dim": 1}, outputs=3),
    Call("hsplit", (f(3, 6),), attributes={"sections": 2}, outputs=2),
    Call("vsplit", (f(4, 6),), attributes={"indices": (1,)}, outputs=2),
    Call("dsplit", (f(2, 3, 6),), attributes={"sections": 2}, outputs=2),
    *(Call(name, (f(2, 3), f(2, 4)), attributes={"dim": -1}) for name in ("cat", "concat", "concatenate")),
    Call("cat", (f(0), f(2, 3)), variant="an empty operand", attributes={"dim": 1}),
    Call("stack", (f(2, 3), f(2, 3)), attributes={"dim": 1}),
    Call("hstack", (f(2), f(3))),
    *(Call(name, (f(3), f(2, 3))) for name in ("vstack", "row_stack")),
    Call("dstack", (f(2, 3), f(2, 3))),
    Call("column_stack", (f(3), f(3, 2))),
    *(Call(f"atleast_{rank}d", (f(3),), overload="default", lists={}) for rank in (1, 2, 3)),
    *(Call(name, (f(2, 3),), attributes={"dim": -2}) for name in ("unsqueeze", "unsqueeze_copy")),
    *(Call(name, (f(2, 1, 3, 1),), attributes={"dim": 1}) for name in ("squeeze", "squeeze_copy")),
    Call("squeeze", (f(2, 1, 3, 1),), variant="all"),
    Call("squeeze", (f(2, 1, 3, 1),), variant="several", attributes={"dim": (0, 3)}, overload="dims"),
    Call("flatten", (f(2, 3, 4, 5),), attributes={"start_dim": 1, "end_dim": 2}, overload="using_ints"),
    Call("unflatten", (f(2, 12),), attributes={"dim": 1, "sizes": (3, -1)}, overload="int"),
    Call("pixel_shuffle", (f(1, 12, 2, 3),), attributes={"upscale_factor": 2}),
    Call("pixel_unshuffle", (f(1, 3, 4, 6),), attributes={"downscale_factor": 2}),
    Call("channel_shuffle", (f(2, 6, 4),), attributes={"groups": 3}),
    Call("native_channel_shuffle", (f(2, 6, 4),), attributes={"groups": 3}),
    Call("roll", (f(3, 5),), attributes={"shifts": (1, -2), "dims": (0, 1)}),
    Call("roll", (f(3, 5),), variant="flat", attributes={"shifts": (2,)}),
    Call("flip", (f(3, 5),), attributes={"dims": (0, -1)}),
    Call("fliplr", (f(3, 5),)),
    Call("flipud", (f(3, 5),)),
    Call("rot90", (f(3, 5),), attributes={"k": 1, "dims": (0, 1)}),
    *(
        Call(name, (f(4, 2, 4),), attributes={"offset": 1, "dim1": 0, "dim2": 2})
        for name in ("diagonal", "diagonal_copy")
    ),
    Call("diag", (f(4, 5),), attributes={"diagonal": -1}),
    Call("linalg_diagonal", (f(2, 4, 4),), attributes={"offset": 0, "dim1": -2, "dim2": -1}),
    Call("repeat", (f(2, 3),), attributes={"repeats": (2, 1, 2)}),
    Call("tile", (f(2, 3),), attributes={"dims": (2,)}),
    Call("repeat_interleave", (f(2, 3),), attributes={"repeats": 2, "dim": 1}, overload="self_int"),
    Call("repeat_interleave", (f(2, 3),), variant="flat", attributes={"repeats": 2}, overload="self_int"),
    *(Call(name, (f(2, 7),), attributes={"dimension": 1, "size": 3, "step": 2}) for name in ("unfold", "unfold_copy")),
    Call("meshgrid", (f(3), f(4)), overload="indexing", attributes={"indexing": "xy"}, outputs=2),
    Call(
        "meshgrid", (f(3), f(4)), variant="matrix order", overload="indexing", attributes={"indexing": "ij"}, outputs=2
    ),
    Call("index_select", (f(4, 3), *_TAKE), attributes={"dim": 0}),
    Call("embedding", (f(4, 3), Given([[2, 0], [1, 1]]))),
    Call("take", (f(4, 3), Given([5, 0, -1]))),
    Call("gather", (f(3, 4), Given([[2, 0], [1, 1]])), attributes={"dim": 0}),
    Call("take_along_dim", (f(3, 4), Given([[2, 0, 1, 1]])), attributes={"dim": 0}),
    Call("index", (f(3, 4, 5), None, Given([2, 0, 2]))),
    Call("index", (f(3, 4, 5), Given([[2], [0]]), Given([1, 3])), variant="two axes"),
    Call("index", (f(3, 4, 5), Given([2, 0]), None, Given([1, 3])), variant="axes apart"),
    Call("_unsafe_index", (f(3, 4), Given([2, 0, 2]))),
    *(
        Call(name, (f(3, 4), Given([2, 0]), f(2, 4)), lists={"indices": 1})
        for name in ("index_put", "_unsafe_index_put")
    ),
    Call("scatter", (f(3, 4), Given([[0, 1, 2, 0]]), f(1, 4)), attributes={"dim": 0}),
    Call("select_scatter", (f(3, 4), f(3)), attributes={"dim": 1, "index": -1}),
    Call("slice_scatter", (f(3, 6), f(3, 2)), attributes={"dim": 1, "start": 1, "end": 5, "step": 2}),
    Call("pad", (f(3, 4),), attributes={"pad": (1, 2, 0, 1), "mode": "constant", "value": -1.0}),
    Call("pad", (f(1, 3, 4),), variant="reflected", attributes={"pad": (1, 2), "mode": "reflect"}),
    Call("pad", (f(1, 3, 4),), variant="circular", attributes={"pad": (1, 2), "mode": "circular"}),
    Call("constant_pad_nd", (f(3, 4),), attributes={"pad": (1, -1, 0, 1), "value": -1}),
    *(
        Call(
            f"{kind}_pad{rank}d", (f(1, 2, *(3, 4, 5)[:rank]),), attributes={"padding": (1, 2, 2, 1, 0, 1)[: 2 * rank]}
        )
        for kind in ("reflection", "replication")
        for rank in (1, 2, 3)
    ),
    Call("_pad_circular", (f(1, 3, 4),), attributes={"pad": (1, 2)}),
    Call(
        "im2col",
        (f(2, 3, 5, 6),),
        attributes={"kernel_size": (2, 3), "dilation": (1, 2), "padding": (0, 0), "stride": (2, 1)},
    ),
)

ATLEAST = {f"atleast_{rank}d": getattr(torch, f"atleast_{rank}d") for rank in (1, 2, 3)}
