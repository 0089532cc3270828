"""A zip archive nobody trusts: entries are listed, checked and read by name with a byte budget, never extracted."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO

from graphneurons.errors import LoadError
from graphneurons.load.paths import open_model

MOST_ENTRIES = 200_000
MOST_DIRECTORY_BYTES = 64 << 20
"""How large the list of entries may be: it is read as a whole."""

_LOCAL = struct.Struct("<4s22xHH")
_END = struct.Struct("<4s4xHHIIH")
_END_LONGEST = 22 + 0xFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """``name`` without the archive's root folder; ``start`` is where its bytes begin in the file; ``plain``: stored
    without compression."""

    name: str
    start: int
    size: int
    plain: bool


class Archive:
    """The entries of the zip file ``path``. Raises `LoadError` for one that is damaged or plays tricks: duplicate or
    overlapping entries, names that leave the archive, links, encryption, sizes that lie."""

    def __init__(self, path: str) -> None:
        self.path = path
        with self._opened() as file:
            _check_end(file, path)
            try:
                with zipfile.ZipFile(file) as archive:
                    found = archive.infolist()
            except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OverflowError, OSError) as error:
                raise LoadError(
                    f"damaged: the list of entries cannot be read ({error}); export it again", file=path
                ) from None
            if len(found) > MOST_ENTRIES:
                raise LoadError(f"{len(found)} entries are more than the {MOST_ENTRIES} this reads", file=path)
            self.bytes = os.fstat(file.fileno()).st_size
            self._infos: dict[str, zipfile.ZipInfo] = {}
            self.entries: dict[str, Entry] = {}
            for info in found:
                self._add(info, file)
        self._check_overlaps()

    def _opened(self) -> IO[bytes]:
        return os.fdopen(open_model(self.path), "rb")

    def _add(self, info: zipfile.ZipInfo, file: IO[bytes]) -> None:
        name = info.filename
        parts = name.split("/")
        if (
            name.startswith("/")
            or "\\" in info.orig_filename
            or ".." in parts
            or "\0" in info.orig_filename
            or ":" in parts[0]
        ):
            raise self._refused(info.orig_filename, "the name leaves the archive")
        if info.is_dir():
            return
        if stat.S_ISLNK(info.external_attr >> 16):
            raise self._refused(name, "a symbolic link")
        if info.flag_bits & 0x1:
            raise self._refused(name, "encrypted entries are not read")
        inner = "/".join(parts[1:]) if len(parts) > 1 else name
        if inner in self._infos:
            raise self._refused(name, "the archive holds two entries of this name")
        start = self._start(info, file)
        if start + info.compress_size > self.bytes:
            raise self._refused(name, f"{info.compress_size} bytes from {start} reach past the end of the file")
        self._infos[inner] = info
        plain = info.compress_type == zipfile.ZIP_STORED
        if plain and info.compress_size != info.file_size:
            raise self._refused(name, f"says {info.file_size} bytes and holds {info.compress_size}")
        self.entries[inner] = Entry(inner, start, info.file_size, plain)

    def _start(self, info: zipfile.ZipInfo, file: IO[bytes]) -> int:
        """Where the bytes of an entry begin: behind the header in front of them, whose lengths are its own."""
        try:
            file.seek(info.header_offset)
            header = file.read(_LOCAL.size)
            mark, name_length, extra_length = _LOCAL.unpack(header)
            name = file.read(name_length)
        except (OSError, ValueError, struct.error):
            raise self._refused(info.filename, "there is no entry where the list says") from None
        encoding = "utf-8" if info.flag_bits & 0x800 else "cp437"
        if mark != b"PK\x03\x04" or name.decode(encoding, "replace") != info.orig_filename:
            raise self._refused(info.filename, "there is another entry, or none, where the list says")
        return int(info.header_offset + _LOCAL.size + name_length + extra_length)

    def _check_overlaps(self) -> None:
        end, last = 0, ""
        if self._infos and min(info.header_offset for info in self._infos.values()) > 0:
            raise LoadError("the archive does not begin where the file does; export it again", file=self.path)
        for info in sorted(self._infos.values(), key=lambda item: item.header_offset):
            if info.header_offset < end:
                raise self._refused(info.filename, f"overlaps {last!r}")
            end, last = info.header_offset + 30 + info.compress_size, info.filename

    def read(self, name: str, budget: int) -> bytes:
        """The bytes of one entry, at most ``budget``."""
        info = self._infos[name]
        if info.file_size > budget:
            raise self._refused(info.filename, f"{info.file_size} bytes are more than the {budget} this reads")
        try:
            with self._opened() as file, zipfile.ZipFile(file) as archive, archive.open(info) as entry:
                data = entry.read(min(info.file_size, budget) + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
            OSError,
        ) as error:
            raise self._refused(info.filename, f"damaged ({error}); export it again") from None
        if len(data) != info.file_size:
            raise self._refused(info.filename, f"says {info.file_size} bytes and holds others")
        return data

    def _refused(self, name: str, what: str) -> LoadError:
        return LoadError(what, file=self.path, where=name)


def _check_end(file: IO[bytes], path: str) -> None:
    """Refuses a list of entries too long to be read as a whole, before it is."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_LONGEST))
    tail = file.read(_END_LONGEST)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and (len(tail) - at < _END.size or at + _END.size + _END.unpack_from(tail, at)[-1] != len(tail)):
        # The end of an archive inside of this one is not the end of this one.
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if at < 0:
        raise LoadError("damaged: the archive has no end; download or export it again", file=path)
    _, _, count, length, _, _ = _END.unpack_from(tail, at)
    if (length != 0xFFFFFFFF and length > MOST_DIRECTORY_BYTES) or size > 1 << 46:
        raise LoadError(f"the list of {count} entries is {length} bytes long, more than this reads", file=path)
    if length == 0xFFFFFFFF or count == 0xFFFF:
        wide = tail.rfind(b"PK\x06\x06", 0, at)
        length = int.from_bytes(tail[wide + 40 : wide + 48], "little") if wide >= 0 else 0
        if length > MOST_DIRECTORY_BYTES:
            raise LoadError(f"the list of entries is {length} bytes long, more than this reads", file=path)
    file.seek(0)
