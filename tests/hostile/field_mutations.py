"""Ways to damage a model in its fields: shapes, types, names, wiring, attributes, ops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from random import Random
from typing import Any

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, defs, helper

NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    4,
    5,
    6,
    8,
    12,
    16,
    64,
    127,
    255,
    2**15,
    2**31 - 1,
    2**31,
    2**32,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
]
SMALL = [0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 24]
TEXTS = ["", "x", "y", "w1", "a\x1b[31m", "\u202e", "é", "..", "NOTSET", "SAME_UPPER", "bij,ij->b", "i...j->", "same"]
KEYS = [
    "axis",
    "axes",
    "group",
    "transA",
    "transB",
    "perm",
    "hidden_size",
    "equation",
    "num_heads",
    "bits",
    "block_size",
    "K",
    "N",
    "kernel_shape",
    "strides",
    "pads",
    "dilations",
    "direction",
    "layout",
    "keepdims",
    "to",
    "body",
    "value",
]
TYPES = [
    *sorted({schema.name for schema in defs.get_all_schemas()}),
    "Attention", "MatMulNBits", "FusedMatMul", "FusedConv", "QMoE", "MoE", "EmbedLayerNormalization", "MatMulBnb4",
    "SkipLayerNormalization", "GatherBlockQuantized", "QGemm", "NhwcConv", "BeamSearch", "QAttention", "Fancy",
]  # fmt: skip
DOMAINS = ["", "", "com.microsoft", "ai.onnx.ml", "local", "acme.ai", "ai.onnx"]

Body = GraphProto | FunctionProto


def bodies(model: ModelProto) -> Iterator[Body]:
    """The graph, the functions and every subgraph, without recursion."""
    waiting: list[Body] = [model.graph, *model.functions]
    while waiting:
        body = waiting.pop()
        yield body
        for op in body.node:
            for attribute in op.attribute:
                waiting += [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs


def some(items: Any, random: Random) -> Any:
    """One of ``items``, or None if there is none."""
    return items[random.randrange(len(items))] if len(items) else None


def refill(tensor: TensorProto, random: Random) -> None:
    """Give ``tensor`` as many bytes as its shape needs, where that is not too many."""
    bits = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4}.get(tensor.data_type)
    try:
        size = bits or helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
    except (KeyError, TypeError):
        return
    if all(0 <= dim < 2**40 for dim in tensor.dims) and prod(tensor.dims) < 10_000:
        for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            tensor.ClearField(field)
        tensor.raw_data = random.randbytes((prod(tensor.dims) * size + 7) // 8)


def change_shape(model: ModelProto, body: Body, random: Random) -> None:
    tensor = some(getattr(body, "initializer", ()), random)
    if tensor is None:
        return
    dims = list(tensor.dims)
    kind = random.randrange(5)
    if kind == 0 and dims:
        dims[random.randrange(len(dims))] = random.choice(NUMBERS if random.random() < 0.3 else SMALL)
    elif kind == 1:
        dims.insert(random.randrange(len(dims) + 1), random.choice(SMALL))
    elif kind == 2 and dims:
        dims.pop(random.randrange(len(dims)))
    elif kind == 3:
        random.shuffle(dims)
    else:
        dims = [random.choice(SMALL) for _ in range(random.randrange(6))]
    tensor.dims[:] = dims
    if random.random() < 0.8:
        refill(tensor, random)


def change_dtype(model: ModelProto, body: Body, random: Random) -> None:
    if tensor := some(getattr(body, "initializer", ()), random):
        tensor.data_type = random.randrange(30)
        refill(tensor, random)


def change_numbers(model: ModelProto, body: Body, random: Random) -> None:
    """Other values in an integer tensor: they are shapes, axes, indices."""
    if tensor := some([t for t in getattr(body, "initializer", ()) if t.data_type == TensorProto.INT64], random):
        count = random.choice((len(tensor.raw_data) // 8, random.randrange(5)))
        values = [random.choice(NUMBERS if random.random() < 0.3 else [-1, *SMALL]) for _ in range(count)]
        tensor.raw_data = b"".join(each.to_bytes(8, "little", signed=True) for each in values)
        tensor.dims[:] = [count] if tensor.dims or count != 1 else []


def known_names(body: Body) -> list[str]:
    names = [name for op in body.node for name in (*op.input, *op.output)]
    return [*names, *(tensor.name for tensor in getattr(body, "initializer", ())), "", "x", "nobody"]


def rewire(model: ModelProto, body: Body, random: Random) -> None:
    op = some(body.node, random)
    if op is None:
        return
    names = op.input if random.random() < 0.8 else op.output
    kind = random.randrange(5)
    if kind == 0 and len(names):
        names[random.randrange(len(names))] = random.choice(known_names(body))
    elif kind == 1:
        names.append(random.choice(known_names(body)))
    elif kind == 2 and len(names):
        names.pop(random.randrange(len(names)))
    elif kind == 3 and len(names) > 1:
        names[0], names[1] = names[1], names[0]
    elif len(names):
        names[random.randrange(len(names))] = ""


def rename(model: ModelProto, body: Body, random: Random) -> None:
    item = some([*body.node, *getattr(body, "initializer", ()), *model.functions, body], random)
    item.name = random.choice([*TEXTS, *known_names(body)])


def move_node(model: ModelProto, body: Body, random: Random) -> None:
    op = some(body.node, random)
    if op is None:
        return
    kind = random.randrange(4)
    if kind == 0:
        body.node.remove(op)
    elif kind == 1:
        body.node.append(op)
        if random.random() < 0.8:
            body.node[-1].output[:] = [f"{name} again" for name in op.output]
    else:
        nodes = [NodeProto.FromString(each.SerializeToString()) for each in body.node]
        random.shuffle(nodes)
        del body.node[:]
        body.node.extend(nodes)


def change_op(model: ModelProto, body: Body, random: Random) -> None:
    if op := some(body.node, random):
        op.op_type = random.choice([*TYPES, *(f.name for f in model.functions)])
        if random.random() < 0.3:
            op.domain = random.choice(DOMAINS)


def insert_op(model: ModelProto, body: Body, random: Random) -> None:
    """A new op between an op and one of its operands."""
    if op := some([each for each in body.node if each.input], random):
        index = random.randrange(len(op.input))
        name = f"new {random.randrange(10**6)}"
        inputs = [op.input[index], *random.choices(known_names(body), k=random.randrange(3))]
        body.node.insert(0, NodeProto(op_type=random.choice(TYPES), input=inputs, output=[name], name=name))
        op.input[index] = name


def random_value(random: Random) -> Any:
    return random.choice([
        random.choice(NUMBERS),
        random.choice(SMALL),
        random.choice((0.0, -1.5, float("nan"), float("inf"))),
        random.choice(TEXTS),
        [random.choice(SMALL) for _ in range(random.randrange(1, 6))],
        [random.choice(NUMBERS) for _ in range(random.randrange(1, 6))],
        [0.5] * random.randrange(1, 9),
        random.choices(TEXTS, k=2),
    ])  # fmt: skip


def change_attribute(model: ModelProto, body: Body, random: Random) -> None:
    op = some(body.node, random)
    if op is None:
        return
    attribute = some(op.attribute, random)
    kind = random.randrange(7)
    if attribute is None or kind == 0:
        op.attribute.append(helper.make_attribute(random.choice(KEYS), random_value(random)))
    elif kind == 1:
        op.attribute.remove(attribute)
    elif kind == 2:
        op.attribute.append(attribute)
    elif kind == 3 and attribute.type == AttributeProto.INT:
        attribute.i = random.choice(NUMBERS)
    elif kind == 4 and attribute.type == AttributeProto.INTS:
        attribute.ints[:] = [random.choice([*SMALL, *NUMBERS]) for _ in range(random.randrange(6))]
    elif kind == 5:
        attribute.type = random.randrange(15)
    elif attribute.type == AttributeProto.STRING and attribute.s:
        text = bytearray(attribute.s)
        text[random.randrange(len(text))] = random.choice(b"abhijkos,->.A \xff")
        attribute.s = bytes(text)
    elif kind == 6:
        attribute.ref_attr_name = random.choice((*KEYS, "groups", ""))
    else:
        attribute.CopyFrom(helper.make_attribute(attribute.name, random_value(random)))


def change_opset(model: ModelProto, body: Body, random: Random) -> None:
    opset = some([*model.opset_import, *(each for f in model.functions for each in f.opset_import)], random)
    if opset is not None and random.random() < 0.8:
        opset.version = random.choice([*range(1, 30), 0, -1, 999, 2**62])
    else:
        model.opset_import.append(helper.make_opsetid(random.choice(DOMAINS), random.randrange(30)))
    model.ir_version = random.choice((model.ir_version, *range(1, 16), 2**40))


def change_end(model: ModelProto, body: Body, random: Random) -> None:
    """An input, output or declared value."""
    if isinstance(body, FunctionProto):
        names = random.choice((body.input, body.output, body.attribute))
        names.append(random.choice(known_names(body)))
        return
    end = some([*body.input, *body.output, *body.value_info], random)
    if end is None:
        return
    kind = random.randrange(6)
    shape = end.type.tensor_type.shape
    if kind == 0:
        end.name = random.choice(known_names(body))
    elif kind == 1:
        end.ClearField("type")
    elif kind == 2:
        end.type.tensor_type.ClearField("shape")
    elif kind == 3 and shape.dim:
        shape.dim[random.randrange(len(shape.dim))].dim_value = random.choice([*SMALL, *NUMBERS])
    elif kind == 4:
        shape.dim.add(dim_param=random.choice(TEXTS))
    else:
        end.type.tensor_type.elem_type = random.randrange(30)


def feed_weight(model: ModelProto, body: Body, random: Random) -> None:
    """A weight becomes an input, or comes from a Constant."""
    tensor = some(getattr(body, "initializer", ()), random)
    if tensor is None:
        return
    if random.random() < 0.5:
        body.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    else:
        op = NodeProto(op_type="Constant", output=[tensor.name])
        op.attribute.append(helper.make_attribute("value", tensor))
        body.node.insert(0, op)
    if random.random() < 0.8:
        body.initializer.remove(tensor)


CHANGES: list[Callable[[ModelProto, Body, Random], None]] = [
    change_shape, change_shape, change_numbers, change_numbers, change_dtype, rewire, rewire, rename, move_node,
    change_op, insert_op, change_attribute, change_attribute, change_opset, change_end, feed_weight,
]  # fmt: skip


def set_apart(model: ModelProto) -> None:
    """New names for all that the graph itself defines, but for its input x."""
    names = {name for op in model.graph.node for name in op.output}
    names |= {tensor.name for tensor in model.graph.initializer}
    for op in model.graph.node:
        op.input[:] = [f"{name} too" if name in names else name for name in op.input]
        op.output[:] = [f"{name} too" if name else name for name in op.output]
    for tensor in model.graph.initializer:
        tensor.name = f"{tensor.name} too"


def graft(model: ModelProto, other: ModelProto, random: Random) -> None:
    """The ops and weights of another model, in front of or behind this one's."""
    set_apart(other)
    nodes = [*model.graph.node, *other.graph.node] if random.random() < 0.5 else [*other.graph.node, *model.graph.node]
    copies = [NodeProto.FromString(each.SerializeToString()) for each in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    model.graph.initializer.extend(other.graph.initializer)
    if not model.functions:
        model.functions.extend(other.functions)
    if random.random() < 0.7:
        first = some(other.graph.node, random)
        for op in model.graph.node:
            for index, name in enumerate(op.input):
                if name == "x" and random.random() < 0.3:
                    op.input[index] = some(first.output, random) or name


def fieldwise(data: bytes, other: bytes, random: Random) -> bytes:
    model = ModelProto.FromString(data)
    if random.random() < 0.15:
        graft(model, ModelProto.FromString(other), random)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        body = random.choice(list(bodies(model)))
        random.choice(CHANGES)(model, body, random)
    return model.SerializeToString()
