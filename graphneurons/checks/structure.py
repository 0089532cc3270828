"""GN1: what is wrong with the network's structure."""

from __future__ import annotations

from collections.abc import Iterator

from graphneurons.analysis import Analysis, Layer
from graphneurons.axes.steps import Unknown
from graphneurons.checks.base import Check, Found, Limits, Subject, check
from graphneurons.checks.copies import copied_weights
from graphneurons.checks.coupled import unequal
from graphneurons.checks.declared import is_dynamic
from graphneurons.checks.signatures import mismatches, signature
from graphneurons.errors import printable
from graphneurons.graph import ModelGraph, Op, Value
from graphneurons.load.reading import read
from graphneurons.naming import unique_ids

_MOST_NAMED = 5


@check("GN101", "unlabelled-weights", "warning", most_share=0.0)
def unlabelled(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Weights nothing can be said of.

    Reports a model in which more than `most-share` of the weight elements meet an op whose meaning is not known, so
    that nothing tells their neurons from their synapses.

    Why: No other rule looks at such weights: their NaNs, dead neurons and scales stay unseen.
    Example: A custom op `acme::FusedBlock(x, w)` that holds half of the parameters.
    Fix: Export with standard ops, or give dynamic dimensions with `--dim` and `--shape`; if the weights are fine as
    they are, raise `GN101.most-share` to the share that is accepted.
    """
    analysis = subject.analysis
    totals = analysis.totals
    share = 1 - totals.labelled_share
    if not analysis.unlabelled or share <= limits["most-share"]:
        return
    names = list(dict.fromkeys(each.name for each in analysis.unlabelled))
    first = analysis.unlabelled[0]
    yield Found(
        f"{len(names)} {_s('weight', len(names))}, {share:.1%} of all elements, not labelled: {first.reason}",
        weight=first.name,
        evidence={
            "share": round(share, 6),
            "weights": [printable(name) for name in names[:_MOST_NAMED]],
            "op": printable(first.op.name),
        },
    )


@check("GN102", "unused-initializer", "warning", least_elements=16)
def unused(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A stored weight that no op reads.

    Reports tensors of `least-elements` or more that are in the file, feed no op and are no output.

    Why: It costs space and loading time, and often something was meant to read it: a bias that was dropped, a head
    cut off.
    Example: `classifier.bias` is stored, but the Gemm that should add it has two inputs.
    Fix: Connect it if it was lost, else remove it (onnxsim, onnxruntime's optimizer and `onnx-graphsurgeon` cleanup
    do).
    """
    graph = subject.analysis.graph
    kept = read_values(graph)
    for name, ref in graph.weights.items():
        if name not in kept and ref.elements >= limits["least-elements"]:
            shape = "x".join(map(str, ref.shape))
            yield Found(
                f"no op reads this weight of {shape} {ref.dtype}",
                weight=ref.name,
                evidence={"shape": list(ref.shape), "dtype": ref.dtype, "elements": ref.elements},
            )


def read_values(graph: ModelGraph) -> set[str]:
    """Names of all values that something reads: ops, states that come back, and outputs."""
    names = {name for op in graph.ops for name in op.inputs}
    names.update(back for op in graph.ops if isinstance(back := op.attributes.get("feedback"), str))
    return names | set(graph.outputs)


@check("GN103", "duplicated-weight", "warning", reads_weights=True, least_elements=256)
def duplicated(subject: Subject, limits: Limits) -> Iterator[Found]:
    """One weight stored twice.

    Reports weights of layers and tables with `least-elements` or more that hold the same numbers as another stored
    tensor, transposed or not. Tensors of one single number do not count.

    Why: A weight that was tied in training (an embedding and the output head) was untied by the export, which doubles
    its memory; or a weight was copied over another one by mistake.
    Example: `lm_head.weight` is `embed_tokens.weight`, transposed.
    Fix: Tie them again (export with the parameter shared, or let both ops read one initializer); if a checkpoint was
    merged, look for the weight that was overwritten.
    """
    yield from copied_weights(subject.analysis, subject.health, int(limits["least-elements"]))


@check("GN104", "training-mode", "error")
def training(subject: Subject, limits: Limits) -> Iterator[Found]:
    """An op that is still in training mode.

    Reports BatchNormalization that normalises by its batch, and Dropout that drops.

    Why: The same input gives other outputs, dependent on what else is in the batch or on chance.
    Example: `torch.onnx.export(model, ...)` of a model after `model.train()`.
    Fix: Call `model.eval()` before the export and export with `training=TrainingMode.EVAL`.
    """
    layers = {layer.op.output: layer.id for layer in subject.analysis.layers}
    for op in subject.analysis.graph.ops:
        what = _trains(op, subject.analysis)
        if what:
            yield Found(
                f"{op.qualified} {printable(op.name)} {what}",
                layer=next((layers[name] for name in op.inputs if name in layers), None),
                evidence={"op": printable(op.name)},
            )


def _trains(op: Op, analysis: Analysis) -> str | None:
    if op.domain == "" and op.type == "BatchNormalization" and op.attributes.get("training_mode", 0) == 1:
        return "normalises by the batch it is given"
    if op.domain == "" and op.type == "Dropout":
        if 0 < op.version < 7:
            return "drops at random" if op.attributes.get("is_test", 0) == 0 else None
        ref = analysis.graph.weights.get(op.inputs[2]) if len(op.inputs) > 2 else None
        if ref is not None and ref.elements == 1 and bool(read(ref).reshape(-1)[0]):
            return "drops at random"
    return None


@check("GN105", "unfolded-batchnorm", "info")
def unfolded(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A batch normalisation that could be part of the layer before it.

    Reports BatchNormalization that is the only reader of a convolution or linear layer.

    Why: It can be folded into the weights for nothing, and while it is not, every inference pays for it, and
    per-channel quantization works on weights that are not those that count.
    Example: `Conv -> BatchNormalization -> Relu`.
    Fix: Fold it: `torch.onnx.export` does in eval mode, onnxruntime's basic optimizations and onnxsim do.
    """
    graph = subject.analysis.graph
    made = {layer.op.output: layer for layer in subject.analysis.layers}
    for op in graph.ops:
        layer = made.get(op.inputs[0]) if op.type == "BatchNormalization" and op.domain == "" and op.inputs else None
        if layer is None or op.attributes.get("training_mode", 0) == 1 or layer.op.output in graph.outputs:
            continue
        if len(graph.consumers.get(layer.op.output, ())) == 1:
            yield Found(
                f"BatchNormalization {printable(op.name)} can be folded into this layer",
                layer=layer.id,
                evidence={"op": printable(op.name)},
            )


@check("GN106", "dead-layer", "error")
def dead_layers(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer whose output reaches nothing.

    Reports layers from which no path leads to an output of the model.

    Why: It was trained to do something: an output or a connection has been lost. If not, it costs time for nothing.
    Example: An auxiliary head whose output was removed; a skip connection that is no longer added.
    Fix: Connect it, or remove it (onnxsim and onnxruntime do) together with its weights.
    """
    alive = _reaching(subject.analysis.graph)
    for layer in subject.analysis.layers:
        if layer.op.name not in alive:
            yield Found(
                f"the output of this {layer.op.type} reaches no output of the model",
                layer=layer.id,
                evidence={"output": printable(layer.op.output), "synapses": layer.synapses},
            )


def _reaching(graph: ModelGraph) -> set[str]:
    """Names of the ops from which some output of the model can be reached."""
    alive: set[str] = set()
    waiting = list(graph.outputs)
    while waiting:
        op = graph.producer.get(waiting.pop())
        if op is None or op.name in alive:
            continue
        alive.add(op.name)
        waiting.extend(op.inputs)
        back = op.attributes.get("feedback")
        if isinstance(back, str):
            waiting.append(back)
    return alive


@check("GN107", "counts-do-not-match", "error")
def mismatched(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Neurons, synapses or parameters that do not fit together.

    Reports ops whose weight, bias or scale has another size than what it meets, and sums and products of channels that
    are not as many: a layer was pruned, transposed or swapped, and what is coupled with it was not.

    Why: A runtime refuses such a model, or broadcasts and computes something else.
    Example: `Conv` has 64 neurons, and the bias it adds has 60 entries.
    Fix: Cut all members of the coupled group alike: `graphneurons wiring MODEL --groups` lists them.
    """
    resolution = subject.analysis.resolution
    seen: set[str] = set()
    ops = {op.name: op for op in subject.analysis.graph.ops}
    for each in subject.analysis.unlabelled:
        step = resolution.steps.get(each.op.name) if resolution is not None else None
        if not isinstance(step, Unknown) or not step.has_rule or each.op.name in seen or not _is_size(step.reason):
            continue
        seen.add(each.op.name)
        yield Found(
            f"{each.op.type} {printable(each.op.name)}: {step.reason}",
            unique_ids([(ops[each.op.name], each.name)])[0],
            each.name,
            evidence={"op": printable(each.op.name), "shape": list(each.shape)},
        )
    for meeting in unequal(subject.analysis):
        if meeting.op.name not in seen:
            shapes = ", ".join(str(list(shape)) for shape in meeting.shapes)
            yield Found(
                f"{meeting.op.qualified} {printable(meeting.op.name)}: shapes {shapes} do not broadcast",
                next(iter(meeting.layers), None),
                evidence={
                    "op": printable(meeting.op.name),
                    "shapes": [list(shape) for shape in meeting.shapes],
                    "layers": [printable(name) for name in meeting.layers[:_MOST_NAMED]],
                },
            )


def _is_size(reason: str) -> bool:
    return any(word in reason for word in ("sizes", "size", "does not fit", "broadcast", "disagree"))


@check("GN108", "missing-input", "error")
def inputs(subject: Subject, limits: Limits) -> Iterator[Found]:
    """An input that the policy asks for is missing, renamed or of another kind, or there is another one.

    Compares the names of the model's inputs with the list `inputs` of the policy, and their types and shapes where an
    entry tells them: `"pixels: float32[batch, 3, 224, 224]"`. `?` is any size, a name is a size that the model has to
    leave open. Where the model leaves a size open, every number is fine. Without a list nothing is asked.

    Why: Whoever calls the model feeds its inputs by name, and in their type and shape.
    Example: `inputs = ["input_ids: int64[batch, seq]", "attention_mask"]`, and the export called the second `mask`, or
    fixed the batch to 1.
    Fix: Export with `input_names=[...]` and `dynamic_axes` or `dynamic_shapes`, or bring the policy up to date.
    """
    wanted = subject.policy.inputs
    if wanted is not None:
        asked = [signature(text, "inputs") for text in wanted]
        yield from map(Found, mismatches("input", asked, subject.analysis.graph.inputs))


@check("GN109", "missing-output", "error")
def outputs(subject: Subject, limits: Limits) -> Iterator[Found]:
    """An output that the policy asks for is missing, renamed or of another kind, or there is another one.

    Compares the names of the model's outputs with the list `outputs` of the policy, and their types and shapes where an
    entry tells them, as `missing-input` does. Where the file declares no shape, the computed one counts, if the model
    has no dynamic dimensions. Without a list nothing is asked.

    Why: Whoever calls the model reads its outputs by name.
    Example: `outputs = ["logits: float32[batch, 1000]"]`, and the export called it `onnx::Gemm_412`.
    Fix: Export with `output_names=[...]`, or bring the policy up to date.
    """
    wanted = subject.policy.outputs
    if wanted is not None:
        asked = [signature(text, "outputs") for text in wanted]
        yield from map(Found, mismatches("output", asked, _outputs(subject.analysis)))


def _outputs(analysis: Analysis) -> list[Value]:
    """The outputs with what is known of them."""
    graph, resolution = analysis.graph, analysis.resolution
    fixed = resolution.shapes if resolution is not None and not is_dynamic(graph) else {}
    given = {value.name: value for value in graph.inputs}
    found = []
    for name in graph.outputs:
        value = given.get(name) or graph.declared.get(name) or Value(name, "", None)
        found.append(value if value.shape is not None else Value(name, value.dtype, fixed.get(name)))
    return found


def _s(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def by_op(analysis: Analysis) -> dict[str, Layer]:
    """Op name -> its first layer."""
    found: dict[str, Layer] = {}
    for layer in analysis.layers:
        found.setdefault(layer.op.name, layer)
    return found


CHECKS: tuple[Check, ...] = (
    unlabelled, unused, duplicated, training, unfolded, dead_layers, mismatched, inputs, outputs,
)  # fmt: skip
