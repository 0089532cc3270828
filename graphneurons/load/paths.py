"""Opens files of untrusted models: the model file itself, and external data that must stay inside its folder.

External data is opened once, component by component, without following a link, and everything known of it (kind, link
count, size) is asked of the open file, never of its name again: nothing can be swapped between check and use.
"""

from __future__ import annotations

import errno
import os
import re
import stat

from graphneurons.errors import LoadError

_LONGEST = 4096
_LONGEST_COMPONENT = 255
# On Windows `C:name` too leaves the folder: it means the folder drive C is at.
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:/" if os.name != "nt" else r"^[A-Za-z][A-Za-z0-9+.-]*:")
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class RefusedError(Exception):
    """Why a location is not opened; callers say for which tensor."""


def kind_of(mode: int) -> str:
    """What a file that is not a regular one is, in words."""
    return next((words for test, words in _KINDS if test(mode)), "not a regular file")


def open_model(path: str) -> int:
    """A descriptor of the regular file ``path`` (links are followed: the user named it). Raises `LoadError`."""
    try:
        # Opening a named pipe would wait for a writer, and opening some devices acts on them: hence O_NONBLOCK first.
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise LoadError(_why(path, error), file=path) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        advice = "name the .onnx file in it" if stat.S_ISDIR(mode) else "give a model file"
        raise LoadError(f"this is {kind_of(mode)}, not a regular file; {advice}", file=path)
    return descriptor


def _why(path: str, error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "the file name holds a NUL character"
    if error.errno == errno.ENOENT:
        if os.path.islink(path):
            return "this symbolic link points to nothing; restore the file it names"
        return "no such file; check the path"
    if error.errno == errno.ELOOP:
        return "this symbolic link leads back to itself"
    if error.errno == errno.EACCES:
        return "no permission to read the file"
    if error.errno == errno.EISDIR or os.path.isdir(path):
        return "this is a directory, not a regular file; name the .onnx file in it"
    if error.errno == errno.ENXIO:
        return "this is a socket or device, not a regular file; give a model file"
    return f"the file cannot be opened ({error.strerror or error})"


def components(location: str) -> list[str]:
    """The path components of an external data location, proved to name something below the model's folder.

    Raises `RefusedError` for everything else (onnx.proto: a relative POSIX path): absolute paths, ``..``, backslashes,
    drive letters, URLs, NUL, empty or overlong names, names of directories.
    """
    if not location:
        raise RefusedError("names no file")
    if "\0" in location:
        raise RefusedError("holds a NUL character")
    if len(os.fsencode(location)) > _LONGEST:
        raise RefusedError(f"is longer than {_LONGEST} bytes")
    if location.startswith("/"):
        raise RefusedError("is an absolute path")
    if "\\" in location:
        raise RefusedError("holds a backslash")
    if _SCHEME.match(location):
        raise RefusedError("is a URL or names a drive")
    parts = location.split("/")
    if ".." in parts:
        raise RefusedError("leaves the model's folder")
    if parts[-1] in ("", "."):
        raise RefusedError("names a directory")
    if any(len(os.fsencode(part)) > _LONGEST_COMPONENT for part in parts):
        raise RefusedError(f"has a component longer than {_LONGEST_COMPONENT} bytes")
    return [part for part in parts if part not in ("", ".")]


def open_inside(directory: str, location: str) -> tuple[int, int]:
    """Descriptor and size of the regular file ``location`` below ``directory``, reached without following any link.

    Raises `RefusedError` where the location is bad, `FileNotFoundError` where nothing is there, `OSError` otherwise.
    """
    parts = components(location)
    if os.open not in os.supports_dir_fd:
        return _checked(_open_by_name(directory, parts))
    folder = os.open(directory or ".", os.O_RDONLY | _DIRECTORY | getattr(os, "O_CLOEXEC", 0))
    try:
        for part in parts[:-1]:
            below = _step(part, _FLAGS | _DIRECTORY, folder)
            os.close(folder)
            folder = below
        descriptor = _step(parts[-1], _FLAGS, folder)
    finally:
        os.close(folder)
    return _checked(descriptor)


def _step(part: str, flags: int, folder: int) -> int:
    try:
        return os.open(part, flags | _NOFOLLOW, dir_fd=folder)
    except OSError as error:
        # Linux says ENOTDIR for a link opened with O_DIRECTORY | O_NOFOLLOW, BSD says EMLINK.
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK) and _is_link(part, folder):
            raise RefusedError("goes through a symbolic link; copy the data beside the model") from None
        if error.errno == errno.ENOTDIR:
            raise RefusedError(f"goes through {part!r}, which is not a directory") from None
        if error.errno == errno.ENXIO:
            raise RefusedError("is a socket or device, not a regular file") from None
        raise


def _is_link(part: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _open_by_name(directory: str, parts: list[str]) -> int:
    """For systems without ``openat`` (Windows): refuse if any component resolves to another name than its own."""
    wanted = os.path.join(os.path.realpath(directory or "."), *parts)
    if os.path.normcase(os.path.realpath(wanted)) != os.path.normcase(wanted):
        raise RefusedError("goes through a symbolic link; copy the data beside the model")
    return os.open(wanted, _FLAGS | _NOFOLLOW)


def _checked(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    reason = ""
    if not stat.S_ISREG(status.st_mode):
        reason = f"is {kind_of(status.st_mode)}, not a regular file"
    elif status.st_nlink > 1:
        reason = "has a second hard link, so it may be a file from elsewhere; copy the data beside the model"
    if reason:
        os.close(descriptor)
        raise RefusedError(reason)
    return descriptor, status.st_size
