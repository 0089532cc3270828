"""External data: the locations tensors name, each file looked at once, and where tensors lie in it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NoReturn

from graphneurons.errors import LoadError
from graphneurons.graph import External
from graphneurons.load.notices import Notices
from graphneurons.load.paths import RefusedError, components, open_inside
from graphneurons.load.wording import brief, quoted

_KEYS = ("location", "offset", "length", "checksum")
_HIGHEST = 1 << 63


class Externals:
    """The external data of one model. ``directory`` is the model's folder (None: a model in memory has none)."""

    def __init__(self, path: str, directory: str | None, notices: Notices) -> None:
        self._path = path
        self._directory = directory
        self._notices = notices
        self._sizes: dict[str, int | None] = {}
        self._extents: dict[str, dict[tuple[int, int], str]] = {}

    def stored(self, entries: Iterable[Any], wanted: int, where: str) -> External:
        """Where a tensor of ``wanted`` bytes lies. Raises `LoadError` where its entries cannot be true."""
        given = self._given(entries, where)
        if "location" not in given:
            self._refuse(where, "external data without a location")
        location = given["location"]
        offset = self._number(given, "offset", 0, where)
        length = self._number(given, "length", wanted, where)
        if length != wanted:
            self._refuse(where, f"external data of {length} bytes, but shape and data type need {wanted}")
        size = self._size(location, where)
        if size is not None and offset + length > size:
            self._refuse(
                where,
                f"external data at {offset} to {offset + length} is past the end of {quoted(location)} ({size} bytes); "
                "the data file is cut or belongs to another model",
            )
        if length:
            self._extents.setdefault(location, {}).setdefault((offset, offset + length), where)
        return External(self._directory or "", location, offset, length, size is not None)

    def unused(self, entries: Iterable[Any], where: str) -> None:
        """External data of a tensor that is stored inside the file: never opened, but a bad location is refused."""
        given = self._given(entries, where)
        if "location" in given:
            self._check(given["location"], where)
        self._notices.add("external-unused", where, "names external data but is not marked as external; it is ignored")

    def report_overlaps(self) -> None:
        """Note tensors that share some but not all of their bytes (the same bytes twice are a tied weight)."""
        for location, extents in self._extents.items():
            reached, before = 0, ""
            for (start, stop), where in sorted(extents.items()):
                if start < reached:
                    self._notices.add("external-overlap", where, f"overlaps {brief(before)} in {quoted(location)}")
                if stop > reached:
                    reached, before = stop, where

    def _given(self, entries: Iterable[Any], where: str) -> dict[str, str]:
        given: dict[str, str] = {}
        for entry in entries:
            key, value = entry.key, entry.value
            if not isinstance(key, str) or not isinstance(value, str):
                self._refuse(where, f"external data {quoted(key)}: {quoted(value)} is not UTF-8")
            if key in given:
                self._refuse(where, f"external data gives {quoted(key)} twice")
            if key not in _KEYS:
                self._notices.add("external-key", where, f"unknown external data key {quoted(key)} is ignored")
                continue
            given[key] = value
        return given

    def _number(self, given: dict[str, str], key: str, otherwise: int, where: str) -> int:
        text = given.get(key)
        if text is None:
            return otherwise
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < _HIGHEST):
            self._refuse(where, f"external data {key} {quoted(text)} is not a number of bytes")
        return int(text)

    def _check(self, location: str, where: str) -> None:
        try:
            components(location)
        except RefusedError as refused:
            self._refuse(where, f"external data location {quoted(location)} {refused}")

    def _size(self, location: str, where: str) -> int | None:
        if location in self._sizes:
            return self._sizes[location]
        self._check(location, where)
        if self._directory is None:
            self._refuse(
                where, f"external data {quoted(location)} of a model that is not a file; load it from its folder"
            )
        size: int | None = None
        try:
            descriptor, size = open_inside(self._directory, location)
            os.close(descriptor)
        except RefusedError as refused:
            self._refuse(where, f"external data location {quoted(location)} {refused}")
        except FileNotFoundError:
            self._notices.add("external-missing", location, "external data file is missing; only structure is known")
        except OSError as error:
            self._notices.add("external-missing", location, f"external data cannot be opened ({error.strerror})")
        self._sizes[location] = size
        return size

    def _refuse(self, where: str, what: str) -> NoReturn:
        raise LoadError(what, file=self._path, where=where)
