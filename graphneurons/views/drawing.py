"""`Drawing`: a picture as DOT text, drawn when asked for."""

from __future__ import annotations

from dataclasses import dataclass

from graphneurons.views.rendering import drawn


@dataclass(frozen=True)
class Drawing:
    """What `graphneurons.render` gives. In a notebook it shows itself; ``engine`` as in `graphneurons.views.rendering`."""

    dot: str
    engine: str | None = None

    def bytes(self, format: str) -> bytes:
        """The picture in ``svg``, ``png``, ``pdf`` or ``dot``. Raises `RenderError` where no engine can draw it."""
        return drawn(self.dot, format, self.engine)

    @property
    def svg(self) -> str:
        return self.bytes("svg").decode("utf-8")

    def _repr_svg_(self) -> str:
        return self.svg
