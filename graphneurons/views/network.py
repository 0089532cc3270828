"""The whole architecture: layers and junctions, repeated blocks folded, deep modules collapsed where there are many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphneurons.analysis import Analysis, Layer
from graphneurons.views.canvas import BASE, FONT
from graphneurons.views.dot import Cluster, Document, Edge, Label, Node, escaped, html, named, number, written
from graphneurons.views.folding import Folded, Item, Stack, collapse, deepest, fold, runs
from graphneurons.views.heads import PARTS
from graphneurons.views.options import Options
from graphneurons.views.palette import HUES, blend
from graphneurons.wiring.records import Source

MOST = 90
"""Nodes that can still be looked at; beyond, modules are collapsed."""

KINDS = {"linear": 1, "conv": 2, "conv_transpose": 6, "recurrent": 3, "attention": 5, "experts": 7, "lookup": 0}
SIGNS = {"sum": "+", "product": "×"}


@dataclass(frozen=True)
class Network:
    """A picture that an engine lays out."""

    document: Document

    def dot(self) -> str:
        return written(self.document)


def draw_network(analysis: Analysis, options: Options) -> Network:
    """All layers, inputs, embeddings and junctions of the model, and who feeds whom."""
    links = _links(analysis)
    items = _items(analysis, links)
    folded = fold(items)
    says: list[str] = []
    if folded.stacks:
        says.append("× N: N blocks alike, drawn once; dashed: on to the next of them, read as what enters the first")
    folded = _fitting(folded, options, says)
    colours = options.colours
    scale = options.font_size / BASE
    ids = {item.id: f"n{at}" for at, item in enumerate(folded.items)}
    kinds = {layer.kind for layer in analysis.layers} | ({"lookup"} if analysis.lookups else set())
    document = Document(
        {
            "layout": "dot", "rankdir": "TB", "bgcolor": colours.background, "pad": "0.25", "fontname": FONT,
            "fontsize": options.font_size, "fontcolor": colours.ink, "ranksep": 0.36 * scale, "nodesep": 0.3 * scale,
            "labelloc": "t", "labeljust": "l", "label": _title(analysis, options, sorted(kinds), says),
            "newrank": "true",
        },
        {"fontname": FONT, "fontsize": options.font_size, "fontcolor": colours.ink, "margin": "0.12,0.06"},
        {"fontname": FONT, "fontsize": options.font_size, "color": colours.muted, "arrowsize": 0.65 * scale,
         "penwidth": 1.2 * scale},
        *_placed(analysis, folded, ids, options, links),
    )  # fmt: skip
    return Network(document)


@dataclass(frozen=True)
class Link:
    tail: str
    head: str
    channels: int
    attends: bool = False


def _links(analysis: Analysis) -> list[Link]:
    """Who feeds whom, over how many channels; queries and keys feed the output of their attention."""
    found: dict[tuple[str, str], int] = {}
    for tail, head, data in analysis.wiring.nx.edges(data=True):
        found[tail, head] = max(found.get((tail, head), 0), int(data["channels"]))
    links = [Link(tail, head, channels) for (tail, head), channels in found.items()]
    links.extend(Link(tail, head, 0, True) for tail, head in _attending(analysis) if (tail, head) not in found)
    return links


def _attending(analysis: Analysis) -> Iterable[tuple[str, str]]:
    """Queries and keys with the output layer of their module, or else the next one."""
    waiting: list[Layer] = []
    outputs = {
        layer.id.rpartition(".")[0]: layer.id for layer in analysis.layers if "output" in (layer.role or "").split("+")
    }
    for layer in analysis.layers:
        roles = set((layer.role or "").split("+"))
        if roles & {*PARTS[:2]} and "value" not in roles:
            parent = layer.id.rpartition(".")[0]
            if parent and parent in outputs:
                yield layer.id, outputs[parent]
            else:
                waiting.append(layer)
        if "output" in roles:
            yield from ((one.id, layer.id) for one in waiting)
            waiting = []


def _items(analysis: Analysis, links: Sequence[Link]) -> list[Item]:
    """Items in the model's order: layers, lookups and junctions by their op, inputs first."""
    layers = {layer.id: layer for layer in analysis.layers}
    lookups = {lookup.id: lookup for lookup in analysis.lookups}
    order = {op.name: at for at, op in enumerate(analysis.graph.ops)}
    scopes = {op.name: op.scope for op in analysis.graph.ops}
    sending = {link.tail for link in links}
    receiving: dict[str, set[str]] = {}
    for link in links:
        receiving.setdefault(link.head, set()).add(link.tail)
    placed: list[tuple[int, int, Item]] = []
    wired = {source.name for source in analysis.wiring.sources}
    for at, source in enumerate(analysis.wiring.sources):
        if source.kind == "layer":
            layer = layers[source.id]
            placed.append((order.get(layer.op.name, 0), at, _layer(layer)))
        elif source.kind == "lookup":
            lookup = lookups[source.id]
            looks = ("lookup", lookup.rows, lookup.width)
            item = Item(source.name, "lookup", lookup.scope[:-1], _own(lookup.scope, lookup.id), looks)
            placed.append((order.get(lookup.op.name, 0), at, item))
        elif source.kind == "junction":
            # What only turns a layer's own neurons among themselves (rotary embeddings) is no junction of layers.
            if source.name not in sending and len(receiving.get(source.name, ())) < 2:
                continue
            junction = analysis.wiring.junction[source.id]
            looks = (junction.kind, junction.size, len(junction.members))
            item = Item(source.name, junction.kind, scopes.get(junction.op, ()), junction.kind, looks)
            placed.append((order.get(junction.op, 0), at, item))
        elif source.name in sending:
            placed.append((-1, at, Item(source.name, "input", (), source.id, ("input", source.size))))
    for at, layer in enumerate(analysis.layers):
        if layer.id not in wired:
            placed.append((order.get(layer.op.name, 0), len(wired) + at, _layer(layer)))
    return [item for _, _, item in sorted(placed, key=lambda one: one[:2])]


def _layer(layer: Layer) -> Item:
    looks = (layer.kind, layer.neurons, layer.synapses_per_neuron, layer.activation, layer.role, layer.tied_to is None)
    path = layer.scope[:-1] if layer.scope else tuple(layer.id.split(".")[:-1])
    tied = layer.tied_to is not None
    return Item(layer.id, layer.kind, path, _own(layer.scope, layer.id), looks, 1, 0 if tied else layer.neurons,
                0 if tied else layer.synapses)  # fmt: skip


def _own(scope: tuple[str, ...], id: str) -> str:
    return scope[-1] if scope else id.rpartition(".")[2] or id


def _fitting(folded: Folded, options: Options, says: list[str]) -> Folded:
    """``folded``, collapsed as asked for, or until it can be looked at."""
    most = options.max_neurons or MOST
    if options.depth is not None:
        says.append(f"modules deeper than {options.depth} levels are collapsed")
        return collapse(folded, options.depth)
    if len(folded.items) <= most:
        return folded
    for depth in range(deepest(folded.items), 0, -1):
        smaller = collapse(folded, depth)
        if len(smaller.items) <= most:
            if len(smaller.items) < 5:
                break
            says.append(
                f"modules deeper than {depth} level{'s' * (depth > 1)} are collapsed, there being many (--depth N)"
            )
            return smaller
    says.append("neighbours are drawn together, there being many layers and no modules to go by")
    return runs(folded, most)


def _placed(
    analysis: Analysis, folded: Folded, ids: dict[str, str], options: Options, links: Sequence[Link]
) -> tuple[tuple[Node, ...], tuple[Edge, ...], tuple[Cluster, ...]]:
    theme = options.colours
    layers = {layer.id: layer for layer in analysis.layers}
    inside: dict[tuple[str, ...], list[Node]] = {stack.path: [] for stack in folded.stacks}
    loose: list[Node] = []
    for item in folded.items:
        home = _home(item.path, inside)
        own = ".".join((*item.path[len(home or ()) :], item.text)) if item.kind in KINDS else item.text
        node = Node(ids[item.id], _look(analysis, item, layers.get(item.id), options, ids[item.id], own))
        (inside[home] if home is not None else loose).append(node)
    edges: dict[tuple[str, str, bool], tuple[int, bool]] = {}
    for link in links:
        tail, head = (folded.stands_for.get(name, "") for name in (link.tail, link.head))
        if tail not in ids or head not in ids:
            continue
        back = folded.copy_of.get(link.tail) != folded.copy_of.get(link.head) and _together(
            folded, link.tail, link.head
        )
        if tail == head and not back:
            continue
        key = (ids[tail], ids[head], back)
        channels, attends = edges.get(key, (0, True))
        edges[key] = (max(channels, link.channels), attends and link.attends)
    # One arrow to the next block is enough, to the first of those that read it there.
    order = {id: at for at, id in enumerate(ids.values())}
    nexts: dict[str, str] = {}
    for tail, head, back in edges:
        if back and order[head] < order.get(nexts.get(tail, ""), len(order)):
            nexts[tail] = head
    drawn = tuple(
        Edge(tail, head, _line(theme.muted, channels, back, attends, theme.ink))
        for (tail, head, back), (channels, attends) in edges.items()
        if not back or head == nexts[tail]
    )
    return tuple(loose), drawn, _clusters(folded.stacks, inside, options)


def _line(colour: str, channels: int, back: bool, attends: bool, ink: str) -> dict[str, object]:
    line: dict[str, object] = {"class": "attends" if attends else "next" if back else "feeds"}
    if attends:
        return {**line, "style": "dotted", "arrowhead": "open", "tooltip": "attends: queries meet keys"}
    line["tooltip"] = f"{channels:,} channels"
    if back:
        return {**line, "style": "dashed", "constraint": "false", "color": ink, "tooltip": "to the next block"}
    return line


def _together(folded: Folded, first: str, second: str) -> bool:
    """Whether both lie in copies of one stack, at least at the outermost level that is folded."""
    one, other = folded.copy_of.get(first, ()), folded.copy_of.get(second, ())
    return bool(one) and bool(other) and len(one) == len(other)


def _home(path: tuple[str, ...], stacks: dict[tuple[str, ...], list[Node]]) -> tuple[str, ...] | None:
    for length in range(len(path), 0, -1):
        if path[:length] in stacks:
            return path[:length]
    return None


def _clusters(
    stacks: Sequence[Stack], inside: dict[tuple[str, ...], list[Node]], options: Options
) -> tuple[Cluster, ...]:
    """Frames, the inner ones made before the outer ones they lie in."""
    theme = options.colours
    made: dict[tuple[str, ...], Cluster] = {}
    outermost: list[Cluster] = []
    children: dict[tuple[str, ...], list[Cluster]] = {}
    for at, stack in sorted(enumerate(stacks), key=lambda one: (-len(one[1].path), one[0])):
        label = f"{named('.'.join((*stack.prefix, str(stack.first))), 40)} … {stack.last}"
        markup = (
            f'<FONT COLOR="{theme.muted}">{escaped(label)}</FONT>  '
            f'<FONT POINT-SIZE="{number(options.font_size * 1.35)}"><B>× {stack.copies:,}</B></FONT>'
        )
        attributes: dict[str, object] = {
            "label": html(markup), "labeljust": "l", "labelloc": "t", "style": "rounded,filled",
            "color": theme.faint, "fillcolor": blend(theme.background, theme.muted, 0.06), "fontcolor": theme.ink,
            "class": "stack", "margin": "14",
        }  # fmt: skip
        cluster = Cluster(f"cluster_{at}", attributes, tuple(inside[stack.path]), tuple(children.get(stack.path, ())))
        made[stack.path] = cluster
        parent = next(
            (stack.path[:length] for length in range(len(stack.path) - 1, 0, -1) if stack.path[:length] in inside), None
        )
        if parent is None:
            outermost.append(cluster)
        else:
            children.setdefault(parent, []).append(cluster)
    return tuple(cluster for cluster in outermost if cluster.nodes or cluster.clusters)


def _look(
    analysis: Analysis, item: Item, layer: Layer | None, options: Options, id: str, own: str
) -> dict[str, object]:
    theme, size = options.colours, options.font_size
    more: dict[str, object] = {"class": f"item {item.kind}", "id": f"item-{id}"}
    if item.kind in SIGNS:
        source = analysis.wiring.source[item.id]
        says = "sum, as in a residual stream" if item.kind == "sum" else "product, as in a gate"
        return {
            "class": f"item junction {item.kind}",
            "id": f"item-{id}",
            "shape": "circle",
            "style": "filled",
            "fillcolor": theme.background,
            "color": theme.ink,
            "penwidth": 1.4,
            "label": SIGNS[item.kind],
            "fixedsize": "true",
            "width": 0.34 * size / BASE,
            "height": 0.34 * size / BASE,
            "margin": "0",
            "fontsize": size * 1.1,
            "tooltip": f"junction {named(source.id, 100)}: {says}, {source.size:,} channels",
        }
    lines = _said(analysis, item, layer, own)
    hue = HUES[KINDS[item.kind]] if item.kind in KINDS else theme.muted
    merged = item.kind == "scope"
    rows = "".join(
        f'<TR><TD ALIGN="CENTER"><FONT POINT-SIZE="{number(size * (1.0 if at == 0 else 0.82))}" '
        f'COLOR="{theme.ink if at == 0 else theme.muted}">{f"<B>{escaped(line)}</B>" if at == 0 else escaped(line)}'
        "</FONT></TD></TR>"
        for at, line in enumerate(lines)
    )
    return {
        **more,
        "shape": "box", "style": "filled,rounded,dashed" if merged else "filled,rounded",
        "fillcolor": blend(theme.background, hue, 0.12 if merged else 0.28), "color": hue,
        "penwidth": 2.4 if merged else 1.4,
        "label": html(f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{rows}</TABLE>'),
        "tooltip": named(item.id, 200),
    }  # fmt: skip


def _said(analysis: Analysis, item: Item, layer: Layer | None, own: str) -> list[str]:
    if item.kind == "scope":
        counted = f"{item.layers:,} layer{'s' * (item.layers != 1)}"
        return [named(item.text, 44), counted, f"{item.neurons:,} neurons, {short(item.synapses)} synapses"]
    if item.kind == "input":
        source: Source = analysis.wiring.source[item.id]
        return [named(item.text, 32), f"input, {source.size:,} channel{'s' * (source.size != 1)}"]
    if layer is None:
        lookup = next(one for one in analysis.lookups if f"lookup:{one.id}" == item.id)
        return [named(own, 32), f"embedding {lookup.rows:,} × {lookup.width:,}"]
    shape = " + ".join("[" + ", ".join(map(str, use.weight.shape)) + "]" for use in layer.weights[:2])
    kind = layer.kind.replace("_", " ") + (f" {shape}" if shape else "")
    role = (layer.role or "").replace("mlp_", "mlp ").replace("+", ", ")
    parts = [part for part in (kind, role, layer.activation) if part]
    told = [" · ".join(parts)] if sum(map(len, parts)) < 36 else [kind, " · ".join(parts[1:])]
    counted = f"{layer.neurons:,} neurons × {layer.synapses_per_neuron:,} = {short(layer.synapses)} synapses"
    told.append(counted if layer.tied_to is None else f"tied to {named(layer.tied_to, 24)}")
    return [named(own, 32), *(named(line, 60) for line in told if line)]


def short(count: int) -> str:
    """``38.5 M``: a count to three digits.

    >>> short(999), short(1536), short(38535168)
    ('999', '1.54 k', '38.5 M')
    """
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def _title(analysis: Analysis, options: Options, kinds: Sequence[str], says: Sequence[str]) -> Label:
    theme, size = options.colours, options.font_size
    name = options.title if options.title is not None else analysis.model.path.replace("\\", "/").rpartition("/")[2]
    totals = analysis.totals
    lines = [f'<FONT POINT-SIZE="{number(size * 1.3)}"><B>{escaped(named(name or "model", 90))}</B></FONT>']
    counted = f"{totals.neurons:,} neurons, {short(totals.synapses)} synapses in {len(analysis.layers):,} layers"
    muted = f'<FONT POINT-SIZE="{number(size * 0.9)}" COLOR="{theme.muted}">'
    lines.append(f"{muted}{escaped(counted)}</FONT>")
    squares = [
        f'<FONT POINT-SIZE="{number(size * 1.1)}" COLOR="{HUES[KINDS[kind]]}">■</FONT>{muted} '
        f"{'embedding' if kind == 'lookup' else escaped(kind.replace('_', ' '))}   </FONT>"
        for kind in kinds if kind in KINDS
    ]  # fmt: skip
    meetings = {junction.kind for junction in analysis.wiring.junctions}
    signs = ["+ sum (residual)"] * ("sum" in meetings) + ["× product (gate)"] * ("product" in meetings)
    signs += ["dotted: queries and keys attend"] * any(True for _ in _attending(analysis))
    # An empty FONT is an error to Graphviz.
    lines.append("".join(squares) + (f"{muted}{escaped('   '.join(signs))}</FONT>" if signs else " "))
    lines.extend(f"{muted}{escaped(line)}</FONT>" for line in says)
    unwired = len(analysis.unlabelled)
    if unwired:
        lines.append(
            f"{muted}left out: {unwired:,} weights that could not be labelled (graphneurons analyze --all)</FONT>"
        )
    lines.append(" ")
    return html('<BR ALIGN="LEFT"/>'.join(lines) + '<BR ALIGN="LEFT"/>')
