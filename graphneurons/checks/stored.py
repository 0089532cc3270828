"""Reads back what this package wrote as JSON (baselines, locks), trusting nothing in it."""

from __future__ import annotations

import json
from typing import Any

from graphneurons.errors import UsageError, printable

LARGEST = 64 << 20


class _TwiceError(Exception):
    """A key that an object has twice: readers differ in which of the two counts."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def read_stored(path: str, what: str, version: int, advice: str) -> dict[str, Any]:
    """The object in the file ``path``, a ``what`` (``baseline``, ``lock``) of this ``version``.

    Raises `UsageError` where it cannot be read, is too large, is not JSON or is of another version; ``advice`` says how
    to write one.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UsageError(f"is too large for a {what}", file=path)
        found: Any = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except _TwiceError as error:
        raise UsageError(f"is a damaged {what}: {printable(str(error), 60)} is given twice", file=path) from None
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", file=path) from None
    except (ValueError, RecursionError):
        raise UsageError(f"is no {what}: not JSON; write one with {advice}", file=path) from None
    told = found.get(f"graphneurons_{what}") if isinstance(found, dict) else None
    if isinstance(told, int) and not isinstance(told, bool) and told != version:
        age = "an older" if told < version else "a newer"
        raise UsageError(
            f"is a {what} of {age} version ({printable(str(told), 20)}, this reads {version}); "
            f"write it anew with {advice}",
            file=path,
        )
    if told != version or not isinstance(told, int):
        raise UsageError(f"is no {what}; write one with {advice}", file=path)
    read: dict[str, Any] = found
    return read
