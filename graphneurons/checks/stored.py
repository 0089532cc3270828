"""Reads back what this package wrote as JSON (baselines, locks), trusting nothing in it."""

from __future__ import annotations

import json
from typing import Any

from graphneurons.errors import UsageError

LARGEST = 64 << 20


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
        found: Any = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", file=path) from None
    except (ValueError, RecursionError):
        raise UsageError(f"is no {what}: not JSON; write one with {advice}", file=path) from None
    told = found.get(f"graphneurons_{what}") if isinstance(found, dict) else None
    if isinstance(told, int) and told != version:
        age = "an older" if told < version else "a newer"
        raise UsageError(
            f"is a {what} of {age} version ({told}, this reads {version}); write it anew with {advice}", file=path
        )
    if told != version:
        raise UsageError(f"is no {what}; write one with {advice}", file=path)
    read: dict[str, Any] = found
    return read
