"""The only caller of an engine: DOT text in, a picture out.

Two engines are known. ``graphviz-pure`` (a port of Graphviz that pip installs) draws SVG and PNG; a system Graphviz
(``dot``) draws PDF too, and has fonts for scripts that the other leaves as boxes. The first is the default, the second
is taken where only it can do what is asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import unicodedata
from dataclasses import dataclass

from graphneurons.errors import GraphNeuronsError, UsageError

FORMATS = ("svg", "png", "pdf", "dot")
ENGINES = ("auto", "graphviz-pure", "dot")
VARIABLE = "GRAPHNEURONS_ENGINE"
TIMEOUT = 120.0
PIXELS = 144
INSTALL = 'pip install "graphneurons[render]" (or a system Graphviz)'


class RenderError(GraphNeuronsError):
    """There is no engine, or it did not draw."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that reads DOT. ``name``: ``graphviz-pure`` or ``dot``."""

    name: str
    path: str


def engines() -> dict[str, Engine]:
    """What is installed, by name. ``graphviz-pure`` is looked for beside this Python first."""
    beside = [os.path.dirname(sys.executable), sysconfig.get_path("scripts") or ""]
    found = {}
    for name, places in (("graphviz-pure", [*beside, None]), ("dot", [None])):
        for place in places:
            path = shutil.which(name, path=place)
            if path:
                found[name] = Engine(name, path)
                break
    return found


def choose(format: str, dot: str, wanted: str | None = None) -> Engine:
    """The engine to draw ``dot`` with: ``wanted``, else what ``GRAPHNEURONS_ENGINE`` names, else whatever fits.

    Raises `UsageError` for a name that is no engine, `RenderError` where none is installed that can do it; both say
    what to install.
    """
    name = wanted or os.environ.get(VARIABLE) or "auto"
    if name not in ENGINES:
        raise UsageError(f"no engine is called {name!r}; there are {', '.join(ENGINES)}")
    found = engines()
    if name != "auto":
        if name not in found:
            how = 'pip install "graphneurons[render]"' if name == "graphviz-pure" else "install Graphviz (graphviz.org)"
            raise RenderError(f"the engine {name} is not installed: {how}, choose another, or write a .dot file")
        if name == "graphviz-pure" and format == "pdf":
            raise RenderError("graphviz-pure draws no PDF: use --engine dot (graphviz.org), or write .svg or .png")
        return found[name]
    order = (
        ["dot", "graphviz-pure"] if format == "pdf" or (format == "png" and foreign(dot)) else ["graphviz-pure", "dot"]
    )
    if format == "pdf":
        order = ["dot"]
    for candidate in order:
        if candidate in found:
            return found[candidate]
    if format == "pdf":
        raise RenderError("drawing PDF needs a system Graphviz (graphviz.org): install it, or write .svg, .png or .dot")
    raise RenderError(f"no engine to draw with: {INSTALL}, or write a .dot file, which needs none")


def foreign(text: str) -> bool:
    """Whether ``text`` holds letters beyond Latin, Greek and Cyrillic, which graphviz-pure's own fonts do not have."""
    return not text.isascii() and any(
        ord(character) > 0x52F and unicodedata.category(character)[0] in "LM" for character in set(text)
    )


def drawn(dot: str, format: str, engine: str | None = None, timeout: float = TIMEOUT) -> bytes:
    """``dot`` as a picture. Raises `RenderError` where the engine fails, with the first line it says."""
    if format not in FORMATS:
        raise UsageError(f"no format is called {format!r}; there are {', '.join(FORMATS)}")
    if format == "dot":
        return dot.encode("utf-8")
    chosen = choose(format, dot, engine)
    command = [chosen.path, f"-T{format}", *([f"-Gdpi={PIXELS}"] if format == "png" else [])]
    try:
        done = subprocess.run(command, input=dot.encode("utf-8"), capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise RenderError(f"{chosen.name} took more than {timeout:g} s; draw less, or write a .dot file") from None
    except OSError as error:
        raise RenderError(f"{chosen.name} cannot be started: {error.strerror}") from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RenderError(f"{chosen.name} failed: {said[0] if said else f'exit code {done.returncode}'}")
    return done.stdout
