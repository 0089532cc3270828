"""DOT text: quoting, HTML-like labels nobody can break out of, and the document.

Quoting follows the `graphviz` package (a test compares them): quotes are escaped, and backslashes are doubled,
so that Graphviz's own escapes (``\\N``, ``\\l``) mean nothing in names that come from a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from graphneurons.reports.names import shown

LINE_ENDS = {"left": "\\l", "right": "\\r", "center": "\\n"}


@dataclass(frozen=True, slots=True)
class Label:
    """Text of a label in DOT's own syntax, ready to be written: ``"..."`` or ``<...>``."""

    text: str


@dataclass(frozen=True, slots=True)
class Node:
    """``id`` is made by this package and never a name from a model."""

    id: str
    attributes: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Edge:
    tail: str
    head: str
    attributes: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes drawn in one frame; clusters nest."""

    id: str
    attributes: Mapping[str, object]
    nodes: tuple[Node, ...]
    clusters: tuple[Cluster, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A whole graph: attributes of the graph, defaults of nodes and edges, then what is drawn, in order."""

    graph: Mapping[str, object]
    node: Mapping[str, object]
    edge: Mapping[str, object]
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    clusters: tuple[Cluster, ...] = field(default=())


def quoted(text: str) -> str:
    """``text`` as a quoted DOT string: quotes escaped, backslashes doubled.

    >>> print(quoted('a "b" \\\\N'))
    "a \\"b\\" \\\\\\\\N"
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def plain(text: str, align: str = "center") -> Label:
    """A label of ``text``, its lines (separated by newlines) aligned left, right or in the middle."""
    end = LINE_ENDS[align]
    lines = [quoted(line)[1:-1] for line in text.split("\n")]
    return Label('"' + end.join(lines) + (end if align != "center" else "") + '"')


def escaped(text: str) -> str:
    """``text`` inside an HTML-like label.

    >>> escaped('<b>"&')
    '&lt;b&gt;&quot;&amp;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def html(markup: str) -> Label:
    """A label of HTML-like ``markup``, whose texts went through `escaped`."""
    return Label(f"<{markup}>")


def named(name: str, longest: int = 48) -> str:
    """A name from a model, made safe to look at: one line, nothing invisible, and not longer than fits; the middle of
    a long one gives way, as both ends of a path say more."""
    safe = shown(name, 4 * longest)
    if len(safe) <= longest:
        return safe
    keep = longest - 1
    return f"{safe[: keep // 2]}…{safe[-(keep - keep // 2) :]}"


def number(value: float) -> str:
    """A coordinate or size, to a hundredth, without a trailing zero.

    >>> number(1.5), number(-0.001), number(2.0)
    ('1.5', '0', '2')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def written(document: Document) -> str:
    """``document`` as DOT text; the same document always gives the same bytes."""
    lines = ["digraph graphneurons {"]
    for kind, attributes in (("graph", document.graph), ("node", document.node), ("edge", document.edge)):
        lines.append(f"  {kind}{_attributes(attributes)}")
    lines.extend(_clusters(document.clusters))
    lines.extend(f"  {node.id}{_attributes(node.attributes)}" for node in document.nodes)
    lines.extend(f"  {edge.tail} -> {edge.head}{_attributes(edge.attributes)}" for edge in document.edges)
    return "\n".join([*lines, "}", ""])


def _clusters(clusters: Iterable[Cluster]) -> list[str]:
    lines: list[str] = []
    waiting: list[Cluster | int] = [*reversed([*clusters])]
    depth = 1
    while waiting:
        item = waiting.pop()
        if isinstance(item, int):
            depth = item
            lines.append(f"{'  ' * depth}}}")
            continue
        pad = "  " * (depth + 1)
        lines.append(f"{'  ' * depth}subgraph {item.id} {{")
        lines.append(f"{pad}graph{_attributes(item.attributes)}")
        lines.extend(f"{pad}{node.id}{_attributes(node.attributes)}" for node in item.nodes)
        waiting.append(depth)
        waiting.extend(item.clusters[::-1])
        depth += 1
    return lines


def _attributes(attributes: Mapping[str, object]) -> str:
    return " [" + ", ".join(f"{key}={_value(value)}" for key, value in attributes.items()) + "]"


def _value(value: object) -> str:
    if isinstance(value, Label):
        return value.text
    return quoted(number(value) if isinstance(value, (int, float)) else str(value))
