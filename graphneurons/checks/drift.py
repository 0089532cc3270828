"""GN5: what changed since a lock file was written, or against another model. Renamed, transposed, folded and reordered
layers are recognized by their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graphneurons.checks.base import Check, Found, Limits, Subject, check
from graphneurons.checks.drifting import Changed, Drift
from graphneurons.checks.locking import UNTOLD, Lock, LockedLayer, Port, ports
from graphneurons.checks.numbers import first_few, listed, some
from graphneurons.comparing.fingerprints import OF_LAYERS, Item
from graphneurons.errors import printable

_MOST_NAMED = 8


@check("GN501", "layer-missing", "error", reads_weights=True)
def missing(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer that was there is gone.

    Reports layers of the lock file (or of the model given with `--against`) that no layer of the model corresponds to,
    and tables that are picked from (embeddings).

    Why: What was tested and agreed on had this layer.
    Example: A head was cut off by exporting the backbone alone.
    Fix: Export the whole model, or write the lock anew if this is meant: `graphneurons lock MODEL -o LOCK`.
    """
    for partners in subject.drift.layers:
        for before in partners.before if not partners.now else ():
            yield Found(f"is gone: {_size(before)}", before.id, evidence={"was": _size(before)})
    for table in (item for item in subject.drift.gone if item.kind == "table"):
        yield Found(f"the table of {_table(table)} is gone", weight=table.name, evidence={"was": _table(table)})


@check("GN502", "layer-added", "error", reads_weights=True)
def added(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer that was not there before.

    Reports layers that correspond to none of the lock file, or of the model given with `--against`, and tables that are
    picked from (embeddings).

    Why: What was tested and agreed on did not have this layer.
    Example: An adapter was merged into the graph instead of into the weights.
    Fix: Find out where it comes from, or write the lock anew if this is meant.
    """
    for partners in subject.drift.layers:
        for now in partners.now if not partners.before else ():
            yield Found(f"is new: {_size(now)}", now.id, evidence={"is": _size(now)})
    for table in (item for item in subject.drift.new if item.kind == "table"):
        yield Found(f"the table of {_table(table)} is new", weight=table.name, evidence={"is": _table(table)})


@check("GN503", "layer-size-changed", "error", reads_weights=True)
def resized(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer with more or fewer neurons or synapses than before.

    Compares the counts of every layer with those of its partner.

    Why: The architecture is another one.
    Example: The hidden layer went from 1024 to 1000 neurons.
    Fix: Export the model that was agreed on, or write the lock anew if this is meant.
    """
    for before, now in _pairs(subject.drift):
        if (before.neurons, before.synapses_per_neuron) != (now.neurons, now.synapses_per_neuron):
            yield Found(
                f"was {_size(before)}, is {_size(now)}", now.id, evidence={"was": _size(before), "is": _size(now)}
            )


@check("GN504", "layer-changed", "error", reads_weights=True)
def changed(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer that plays another part, has another activation or reads something else.

    Compares the activation, the part played (query, key, ...) where it can be told of both, whether it is tied, the
    layers it reads, and which of their neurons feed which synapse.

    Why: With the same counts the model computes something else.
    Example: ReLU became GELU; query and key were swapped; channels are shuffled between two layers.
    Fix: Export the model that was agreed on, or write the lock anew if this is meant.
    """
    drift = subject.drift
    labels = _labels(drift)
    # Rows of a table, picked in advance and added as a constant, are no longer read.
    early = any(item.holder.startswith("lookup:") and _is_constant(item) for item in (*drift.gone, *drift.new))
    picked = {"lookup"} if early else set[str]()
    for before, now in _pairs(drift):
        told = [
            f"{what} was {was or 'none'}, is {now_is or 'none'}"
            for what, was, now_is in (
                ("activation", before.activation, now.activation),
                ("role", before.role or now.role, now.role or before.role),
                ("tied to", drift.names.get(before.tied_to, before.tied_to), now.tied_to),
            )
            if was != now_is and UNTOLD not in (was, now_is)
        ]
        reads, read = _reads(before, drift.names), _reads(now, {})
        if not _reads_alike(before, now, labels, picked):
            told.append(f"reads was {reads or 'none'}, is {read or 'none'}")
        elif (
            before.wires
            and now.wires
            and before.wires != now.wires
            and _same_size(before, now)
            # Neurons of a layer that was packed or split have other numbers.
            and not any(labels[0].get(each) in labels[2] for each in before.reads)
        ):
            told.append("its synapses read other neurons of the same layers")
        if told:
            yield Found("; ".join(told), now.id, evidence={"changes": told})


def _labels(drift: Drift) -> tuple[Mapping[str, int], Mapping[str, int], frozenset[int]]:
    """Layers of the reference and of the model by the number of their partnership, and which of these are of several
    layers."""
    before = {layer.id: at for at, partners in enumerate(drift.layers) for layer in partners.before}
    now = {layer.id: at for at, partners in enumerate(drift.layers) for layer in partners.now}
    return before, now, frozenset(at for at, partners in enumerate(drift.layers) if partners.pair is None)


_NAMED_OTHERWISE = ("input:", "lookup:")


def _reads_alike(
    before: LockedLayer,
    now: LockedLayer,
    labels: tuple[Mapping[str, int], Mapping[str, int], frozenset[int]],
    picked: set[str],
) -> bool:
    left, right, several = labels

    def of(layer: LockedLayer, known: Mapping[str, int]) -> set[object]:
        # Inputs and tables by what they are: every exporter names them otherwise.
        return {
            each.partition(":")[0] if each.startswith(_NAMED_OTHERWISE) else known.get(each, each)
            for each in layer.reads
        }

    was, current = of(before, left), of(now, right)
    # Where a layer is unrolled or split, the states and sums between its parts are junctions.
    apart = was ^ current
    return not apart or apart <= picked or (bool(apart & several) and apart <= several | {"junction"})


def _same_size(before: LockedLayer, now: LockedLayer) -> bool:
    return (before.neurons, before.synapses_per_neuron) == (now.neurons, now.synapses_per_neuron)


def _reads(layer: LockedLayer, names: Mapping[str, str]) -> str:
    told = {each.partition(":")[0] if each.startswith(_NAMED_OTHERWISE) else names.get(each, each)
            for each in layer.reads}  # fmt: skip
    return ", ".join(sorted(told))


@check("GN505", "dtype-changed", "warning", reads_weights=True)
def retyped(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Weights of another type than before.

    Compares the element types of every layer's weights.

    Why: Precision, speed and size change with it, and what was measured no longer holds.
    Example: float16 became float32, and the file doubled.
    Fix: Export with the type that was agreed on, or write the lock anew if this is meant.
    """
    for partners in subject.drift.layers:
        was, now_is = (
            "+".join(sorted({each for layer in side for each in layer.dtype.split("+")}))
            for side in (partners.before, partners.now)
        )
        if partners.before and partners.now and was != now_is:
            yield Found(f"was {was}, is {now_is}", partners.now[0].id, evidence={"was": was, "is": now_is})


@check("GN506", "weights-changed", "warning", reads_weights=True, most=0.0)
def drifted(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Weights that are not those of before.

    Against another model, every weight of every neuron is compared; against a lock file, random projections of each
    weight matrix. Both are taken in one order of neurons and synapses, so that a new export that renames, transposes,
    packs or splits weights, reorders gates, folds a normalisation, or rounds to another float type is no change.
    Beyond rounding (1e-5 of the norm; 1e-3 from or to float16, 8e-3 bfloat16), up to the share `most` of its norm may
    change. Quantized weights are compared with the numbers they stand for.

    Why: A layer was trained further, lost its weights, or got those of another one.
    Example: A checkpoint of another epoch was exported.
    Fix: Export the checkpoint that was agreed on, or write the lock anew if this is meant.
    """
    drift = subject.drift
    for change in drift.changed:
        if change.now[0].kind in OF_LAYERS and change.exceeds(limits["most"]):
            yield _change(change, drift)


    for one, other in drift.moved:
        if other.kind == "weight":
            yield Found(
                f"its weights are exchanged: what {printable(one.name)} held is at another place", other.holder,
                other.name, evidence={"what": "exchanged"},
            )  # fmt: skip


def _change(change: Changed, drift: Drift) -> Found:
    now, found = change.now[0], change.found
    was = sum(item.fingerprint.norm**2 for item in change.before) ** 0.5
    current = sum(item.fingerprint.norm**2 for item in change.now) ** 0.5
    evidence: dict[str, object] = {
        "change": float(f"{change.relative:.3g}"), "was": float(f"{was:.6g}"), "is": float(f"{current:.6g}"),
    }  # fmt: skip
    told = "about " if found is None else ""
    message = f"changed by {told}{change.relative:.2%} of its norm" if change.relative < 1e3 else "changed altogether"
    neurons = None
    layers = {layer.id for layer in drift.now.layers}
    if found is not None:
        rows = sum(item.fingerprint.rows for item in change.now)
        what = "neuron" if now.kind == "weight" else "row" if now.kind == "table" else "entry"
        message = f"{some(found.changed.size, rows, what, 'entries' if what == 'entry' else '')} changed: {message}"
        evidence |= {"changed": int(found.changed.size), "of": rows, "largest": float(f"{found.largest:.3g}")}
        whole = len(change.now) == 1 and now.matrix is not None and not now.matrix.reordered and now.position == 0
        if whole:
            neurons = listed(found.changed)
        else:
            message += f" (rows {first_few(listed(found.changed))} of the matrix)"
    if change.holds:
        message += f"; it holds the weights {printable(change.holds)} had"
        evidence["holds"] = change.holds
    elif change.how:
        message += f"; {change.how}"
        evidence["how"] = change.how
    broken = sum(item.fingerprint.broken for item in change.now), sum(item.fingerprint.broken for item in change.before)
    if broken[0] != broken[1]:
        message += f"; {broken[0]:,} {'weight is' if broken[0] == 1 else 'weights are'} not finite, {broken[1]:,} were"
        evidence |= {"broken": broken[0], "were_broken": broken[1]}
    layer = now.holder if now.holder in layers else now.of if now.of in layers else None
    return Found(message, layer, now.name, None, neurons, evidence)


@check("GN507", "interface-changed", "error")
def interface(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Inputs or outputs with other names, types or shapes than before.

    Compares the model's inputs and outputs: names, order, element types and declared shapes.

    Why: Whoever calls the model does so by name or by place, with data of this type and shape.
    Example: The output `logits` is now called `output_0`; the batch size is fixed to 1.
    Fix: Export with `input_names`, `output_names` and `dynamic_shapes`, or write the lock anew if this is meant.
    """
    before: Lock = subject.other.lock
    now = ports(subject.analysis)
    for what, was, current in (("inputs", before.inputs, now[0]), ("outputs", before.outputs, now[1])):
        names, told = ([printable(port.name) for port in ports] for ports in (was, current))
        if names != told:
            yield Found(
                f"the {what} were {', '.join(names) or 'none'}, are {', '.join(told) or 'none'}",
                evidence={"what": what},
            )
            continue
        for one, other in zip(was, current, strict=True):
            if _typed(one) != _typed(other):
                yield Found(
                    f"{what[:-1]} {printable(one.name)} was {_typed(one)}, is {_typed(other)}",
                    evidence={"what": f"{what[:-1]} {printable(one.name)}"},
                )


def _typed(port: Port) -> str:
    return f"{port.dtype} {port.shape}".strip()


@check("GN508", "layer-renamed", "info", reads_weights=True)
def renamed(subject: Subject, limits: Limits) -> Iterator[Found]:
    """A layer that has another name than before, or is now several layers.

    Reports layers whose partner in the lock file is called otherwise, and those that are split (query, key and value
    packed in one), merged, or unrolled.

    Why: Nothing changes but the names; whatever refers to layers by name has to follow.
    Example: `encoder.0` became `/encoder/encoder.0/MatMul`, as another exporter calls it.
    Fix: Nothing, or write the lock anew.
    """
    for partners in subject.drift.layers:
        pair = partners.pair
        if pair is not None and pair[0].id != pair[1].id:
            yield Found(f"was called {pair[0].id}", pair[1].id, evidence={"was": pair[0].id})
        elif pair is None and partners.before and partners.now:
            was, current = _named(partners.before), _named(partners.now)
            yield Found(f"{was} is now {current}", partners.now[0].id, evidence={"was": was, "is": current})


@check("GN509", "parameters-changed", "warning", reads_weights=True, most=0.0)
def parameters(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Biases, gains and other parameters beside the weights that are not those of before.

    Compares modulators (bias, normalisation, elementwise gains and shifts, peepholes) and weights nothing could be
    proved of, as `GN506` does weights; and reports biases, normalisations and gains of single layers that are gone or
    new. A normalisation that is folded into its layer, and a bias of zeros, are no change.

    Why: They act on every neuron: a lost bias or another gain changes all outputs.
    Example: The exporter dropped the bias of the head.
    Fix: Export the checkpoint that was agreed on, or write the lock anew if this is meant.
    """
    drift = subject.drift
    for change in drift.changed:
        if change.now[0].kind not in OF_LAYERS and change.exceeds(limits["most"]):
            found = _change(change, drift)
            yield Found(
                f"{change.now[0].kind}: {found.message}", found.layer, found.weight, None, found.neurons, found.evidence
            )
    layers = {layer.id for layer in drift.now.layers}
    for one, other in drift.moved:
        if other.kind != "weight":
            yield Found(
                f"{other.kind}: it is the one {printable(one.of)} had", other.of, other.name,
                evidence={"held_by": one.of},
            )  # fmt: skip
    for items, what in ((drift.gone, "gone"), (drift.new, "new")):
        for item in items:
            if _is_notable(item, drift):
                owner = drift.names.get(item.of, item.of) if what == "gone" else item.of
                count = item.fingerprint.rows
                yield Found(
                    f"{item.kind} of {count:,} numbers is {what}", owner if owner in layers else None, item.name,
                    evidence={"what": f"{item.kind} {what}", "numbers": count},
                )  # fmt: skip


_NOTABLE = frozenset({"bias", "normalisation", "unlabelled"})


def _is_notable(item: Item, drift: Drift) -> bool:
    """Whether something only one model has is no matter of the exporter: of constants, one number per neuron of a layer
    that has no other such constant in the other model instead."""
    if item.kind in _NOTABLE:
        return True
    sizes = {layer.id: layer.neurons for lock in (drift.before, drift.now) for layer in lock.layers}
    if item.kind != "elementwise" or item.fingerprint.rows != sizes.get(item.of):
        return False
    owner = drift.names.get(item.of, item.of)
    gone, new = ([each for each in items if each.fingerprint.rows == item.fingerprint.rows]
                 for items in (drift.gone, drift.new))  # fmt: skip
    before = any(drift.names.get(each.of, each.of) == owner for each in gone)
    return not (before and any(each.of == owner for each in new))


@check("GN510", "constants-unmatched", "info", reads_weights=True)
def constants(subject: Subject, limits: Limits) -> Iterator[Found]:
    """Constants beside the weights that could not be compared.

    Lists elementwise constants that only one of the models has under any name: exporters compute some of them in
    advance (masks, rotations, positions), so nothing can be said of them.

    Why: What was not compared may have changed.
    Example: One exporter stores the sines of rotary embeddings, the other computes them.
    Fix: Compare with an export by the same exporter.
    """
    for items, what in ((subject.drift.gone, "before"), (subject.drift.new, "now")):
        left = [item for item in items if _is_constant(item) and not _is_notable(item, subject.drift)]
        names = list(dict.fromkeys(printable(item.name) for item in left))
        if names:
            told = ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
            count = len(names)
            yield Found(
                f"{count} {'constant' if count == 1 else 'constants'} only {what}: {told}",
                evidence={"what": what, "constants": names[:100]},
            )


def _is_constant(item: Item) -> bool:
    return item.kind not in OF_LAYERS and item.kind not in _NOTABLE


def _pairs(drift: Drift) -> Iterator[tuple[LockedLayer, LockedLayer]]:
    for partners in drift.layers:
        if partners.pair is not None:
            yield partners.pair


def _named(layers: Sequence[LockedLayer]) -> str:
    names = ", ".join(layer.id for layer in layers[:_MOST_NAMED]) + (", …" if len(layers) > _MOST_NAMED else "")
    return names if len(layers) == 1 else f"{len(layers)} layers ({names})"


def _size(layer: LockedLayer) -> str:
    return f"{layer.neurons:,} neurons of {layer.synapses_per_neuron:,} synapses"


def _table(item: Item) -> str:
    return f"{printable(item.holder.removeprefix('lookup:'))}: {item.fingerprint.rows:,} x {item.fingerprint.columns:,}"


CHECKS: tuple[Check, ...] = (
    missing, added, resized, changed, retyped, drifted, interface, renamed, parameters, constants,
)  # fmt: skip
