"""`Drawing`: a picture as DOT text, drawn when asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass

from graphneurons.errors import UsageError
from graphneurons.views.rendering import FORMATS, drawn


@dataclass(frozen=True)
class Drawing:
    """What `graphneurons.render` gives. A notebook shows it; ``engine`` as in `graphneurons.views.rendering`."""

    dot: str
    engine: str | None = None

    def bytes(self, format: str) -> bytes:
        """The picture in ``svg``, ``png``, ``pdf`` or ``dot``. Raises `RenderError` where no engine can draw it."""
        return drawn(self.dot, format, self.engine)

    @property
    def svg(self) -> str:
        return self.bytes("svg").decode("utf-8")

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Writes the picture, in the format its name ends in: the whole of it, or nothing. Raises `UsageError` for
        a name that ends in none, `RenderError` where no engine can draw it, `OSError` where it cannot be written."""
        target = os.fspath(path)
        picture = self.bytes(format or format_of(target))
        temporary = f"{target}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
        try:
            with open(temporary, "xb") as file:
                file.write(picture)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            _remove(temporary)
            raise OSError(error.errno, error.strerror, target) from None
        except BaseException:
            _remove(temporary)
            raise

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing: {len(self.dot):,} characters of DOT; .save('picture.svg') draws it>"


def format_of(path: str) -> str:
    """The format a file's name asks for."""
    ending = os.path.splitext(path)[1].lower().lstrip(".")
    ending = {"gv": "dot"}.get(ending, ending)
    if ending not in FORMATS:
        raise UsageError(f"its name ends in none of {', '.join('.' + one for one in FORMATS)}: say --format", file=path)
    return ending


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
