"""Reads a picture back: what the SVG shows, by the classes and ids the views give."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import pytest

from graphneurons.views.drawing import Drawing
from graphneurons.views.rendering import engines

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}title"

ENGINES = sorted(engines())
"""What is installed: graphviz-pure always (the extra ``test`` brings it), a system ``dot`` where there is one (CI)."""

each_engine = pytest.mark.parametrize("engine", ENGINES)


@dataclass(frozen=True)
class Group:
    """One ``<g>``: a node or an edge. ``title``: its name in DOT, ``n0`` or ``s0->n0``."""

    id: str
    classes: frozenset[str]
    title: str
    element: ElementTree.Element

    @property
    def texts(self) -> list[str]:
        return [text.text or "" for text in self.element.iter(f"{SVG}text")]

    @property
    def tooltip(self) -> str:
        return next((link.get(LINK, "") for link in self.element.iter(f"{SVG}a")), "")

    @property
    def has_bar(self) -> bool:
        """Whether an edge ends in a bar: its head is a rectangle, not a triangle."""
        heads = [head.get("points", "").split() for head in self.element.iter(f"{SVG}polygon")]
        return any(len(set(points)) == 4 for points in heads)

    @property
    def width(self) -> float:
        return max(float(path.get("stroke-width", "1")) for path in self.element.iter(f"{SVG}path"))

    @property
    def colour(self) -> str:
        return next(path.get("stroke", "") for path in self.element.iter(f"{SVG}path"))


def groups(drawing: Drawing | str, engine: str | None = None) -> list[Group]:
    text = Drawing(drawing, engine).svg if isinstance(drawing, str) else Drawing(drawing.dot, engine).svg
    found = []
    for element in ElementTree.fromstring(text).iter(f"{SVG}g"):
        title = element.find(f"{SVG}title")
        classes = frozenset(element.get("class", "").split())
        if classes & {"node", "edge"}:
            found.append(
                Group(element.get("id", ""), classes, (title.text or "") if title is not None else "", element)
            )
    return found


def of(found: list[Group], kind: str) -> list[Group]:
    return [one for one in found if kind in one.classes]


def all_texts(svg: str) -> str:
    return " ".join(re.sub(r"\s+", " ", text.text or "") for text in ElementTree.fromstring(svg).iter(f"{SVG}text"))
