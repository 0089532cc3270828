"""Which rules count, how much, and where: ``[tool.graphneurons]`` of pyproject.toml, or graphneurons.toml."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any, cast

from graphneurons.checks.base import SEVERITIES, Severity
from graphneurons.checks.hints import near
from graphneurons.checks.registry import check_of, checked_prefix
from graphneurons.checks.signatures import signature
from graphneurons.errors import UsageError

BUDGETS = ("neurons", "synapses", "parameters", "file-size")
LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Policy:
    """What a model is held to.

    ``select`` and ``ignore`` are prefixes of codes; the longer prefix wins, and ``ignore`` where both are as long.
    ``severity``: prefix -> severity. ``per_layer_ignores``: glob of layer ids or weight names -> prefixes.
    ``thresholds``: code -> name -> number. ``budgets``: upper limits, by the names in `BUDGETS` (bytes for
    ``file-size``). ``alignment``, ``tensor_parallel``, ``sparsity`` (N, M) and ``inputs``, ``outputs`` (what must be
    there, see `graphneurons.checks.signatures`) are None where nothing is asked. ``ranges``: input name -> smallest and
    largest value it can have.
    """

    select: tuple[str, ...] = ("GN",)
    ignore: tuple[str, ...] = ()
    severity: Mapping[str, Severity] = field(default_factory=dict)
    per_layer_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    budgets: Mapping[str, int] = field(default_factory=dict)
    alignment: int | None = None
    tensor_parallel: int | None = None
    sparsity: tuple[int, int] | None = None
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    fail_on: Severity = "warning"

    def selects(self, code: str) -> bool:
        def longest(prefixes: Iterable[str]) -> int:
            return max((len(prefix) for prefix in prefixes if code.startswith(prefix)), default=0)

        return longest(self.select) > longest(self.ignore)

    def severity_of(self, code: str, default: Severity) -> Severity:
        prefix = max((p for p in self.severity if code.startswith(p)), key=len, default=None)
        return default if prefix is None else self.severity[prefix]


DEFAULT = Policy()


def policy_from(given: Policy | Mapping[str, Any] | str | os.PathLike[str] | None) -> Policy:
    """A policy of whatever a caller has."""
    if given is None:
        return DEFAULT
    if isinstance(given, Policy):
        return given
    return parse_policy(given, "policy") if isinstance(given, Mapping) else read_policy(given)


def find_policy(start: str | os.PathLike[str] = ".") -> Path | None:
    """The nearest policy in ``start`` or above it: graphneurons.toml, or a pyproject.toml with [tool.graphneurons]."""
    try:
        folder = Path(start).resolve()
    except OSError:
        raise UsageError("is gone or cannot be read; change to another", file="the working directory") from None
    for place in (folder, *folder.parents):
        if (place / "graphneurons.toml").is_file():
            return place / "graphneurons.toml"
        project = place / "pyproject.toml"
        if project.is_file() and "graphneurons" in _table(_toml(project).get("tool", {}), str(project), "tool"):
            return project
    return None


def read_policy(path: str | os.PathLike[str]) -> Policy:
    """The policy in a TOML file. Raises `UsageError` for one that cannot be read, unknown keys and unknown codes."""
    file = Path(path)
    found = _toml(file)
    if file.name == "pyproject.toml":
        tool = _table(found.get("tool", {}), str(file), "tool")
        if "graphneurons" not in tool:
            raise UsageError("has no table [tool.graphneurons]", file=str(file))
        found = _table(tool["graphneurons"], str(file), "tool.graphneurons")
    return parse_policy(found, str(file))


def _toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise UsageError(f"is larger than {LARGEST_FILE:,} bytes, which no policy is", file=str(path))
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except (ValueError, RecursionError) as error:
        # Wrong TOML, wrong UTF-8, numbers of more digits than Python reads.
        raise UsageError(f"is not TOML: {error}", file=str(path)) from None


def parse_policy(given: Mapping[str, Any], file: str) -> Policy:
    """The policy that the keys of a TOML table give. ``file`` is named in errors."""
    changes: dict[str, Any] = {}
    for key, value in given.items():
        parse = _KEYS.get(str(key))
        if parse is None:
            raise UsageError(f"unknown key {key!r}; {near(str(key), _KEYS)}", file=file)
        try:
            changes.update(parse(value, str(key)))
        except UsageError as error:
            raise UsageError(error.message, file=file, where=error.where or str(key)) from None
    for name in ("select", "ignore"):
        more = changes.pop(f"extend_{name}", ())
        if more:
            changes[name] = (*changes.get(name, getattr(DEFAULT, name)), *more)
    return replace(DEFAULT, **changes)


def extended(policy: Policy, select: Iterable[str], ignore: Iterable[str], more: Iterable[str]) -> Policy:
    """``policy`` with what was given on the command line: ``select`` replaces, the others add."""
    chosen = tuple(checked_prefix(prefix, "--select") for prefix in select) or policy.select
    added = tuple(checked_prefix(prefix, "--extend-select") for prefix in more)
    left_out = tuple(checked_prefix(prefix, "--ignore") for prefix in ignore)
    return replace(policy, select=(*chosen, *added), ignore=(*policy.ignore, *left_out))


def _table(value: Any, where: str, key: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{key} is not a table", where=where)
    return {str(name): each for name, each in value.items()}


def _texts(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise UsageError("is not a list of strings", where=key)
    return tuple(value)


def _signatures(value: Any, key: str) -> tuple[str, ...]:
    texts = _texts(value, key)
    for text in texts:
        signature(text, key)
    return texts


def _prefixes(value: Any, key: str) -> tuple[str, ...]:
    return tuple(checked_prefix(prefix, key) for prefix in _texts(value, key))


def parse_severity(value: Any, key: str) -> Severity:
    """One of `SEVERITIES`."""
    if value not in SEVERITIES:
        raise UsageError(f"{value!r} is no severity; {near(str(value), SEVERITIES)}", where=key)
    return cast(Severity, value)


def _whole(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{value!r} is not a whole number from 1", where=key)
    return value


def _number(value: Any, key: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else nan
    except OverflowError:
        raise UsageError("is larger than any number that can be reached", where=key) from None
    if not isfinite(number):
        raise UsageError(f"{value!r} is not a number", where=key)
    return number


def _thresholds(value: Any, key: str) -> dict[str, Any]:
    found: dict[str, dict[str, float]] = {}
    for code, limits in _table(value, key, key).items():
        known = check_of(code)
        for name, limit in _table(limits, key, code).items():
            if name not in known.limits:
                hint = near(name, known.limits) if known.limits else "it has none"
                raise UsageError(f"{known.code} has no threshold {name!r}; {hint}", where=key)
            found.setdefault(known.code, {})[name] = _number(limit, f"{key}.{code}.{name}")
    return {"thresholds": found}


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "b": 10**9}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})")


def _amount(value: Any, key: str, units: Mapping[str, int]) -> int:
    if isinstance(value, str):
        match = _AMOUNT.fullmatch(value.strip())
        unit = units.get(match.group(2).lower()) if match else None
        if match is None or unit is None:
            raise UsageError(
                f'{value!r} is no amount; write 1000000 or "{"100 MB" if "kb" in units else "1 M"}"', where=key
            )
        return int(float(match.group(1)) * unit)
    return _whole(value, key)


def _budgets(value: Any, key: str) -> dict[str, Any]:
    found: dict[str, int] = {}
    for name, amount in _table(value, key, key).items():
        if name not in BUDGETS:
            raise UsageError(f"unknown budget {name!r}; {near(name, BUDGETS)}", where=key)
        found[name] = _amount(amount, f"{key}.{name}", _BYTES if name == "file-size" else _UNITS)
    return {"budgets": found}


def parse_sparsity(value: Any, key: str) -> tuple[int, int]:
    """``"2:4"``: at most 2 of 4 neighbours differ from zero."""
    match = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,4})", value) if isinstance(value, str) else None
    n, m = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    if not 0 < n < m:
        raise UsageError(f'{value!r} is no pattern such as "2:4"', where=key)
    return n, m


def _hardware(value: Any, key: str) -> dict[str, Any]:
    known: dict[str, Callable[[Any, str], Any]] = {
        "alignment": _whole, "tensor-parallel": _whole, "sparsity": parse_sparsity,
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, each in _table(value, key, key).items():
        if name not in known:
            raise UsageError(f"unknown key {name!r}; {near(name, known)}", where=key)
        found[name.replace("-", "_")] = known[name](each, f"{key}.{name}")
    return found


def parse_range(value: Any, key: str) -> tuple[float, float]:
    """Smallest and largest value of an input."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise UsageError("is not [smallest, largest]", where=key)
    low, high = (_number(each, key) for each in value)
    if low > high:
        raise UsageError(f"[{low:g}, {high:g}]: the smallest is larger than the largest", where=key)
    return low, high


def _severities(value: Any, key: str) -> dict[str, Any]:
    return {
        "severity": {
            checked_prefix(prefix, key): parse_severity(each, f"{key}.{prefix}")
            for prefix, each in _table(value, key, key).items()
        }
    }


def _ignores(value: Any, key: str) -> dict[str, Any]:
    return {"per_layer_ignores": {glob: _prefixes(each, key) for glob, each in _table(value, key, key).items()}}


def _ranges(value: Any, key: str) -> dict[str, Any]:
    return {"ranges": {name: parse_range(each, f"{key}.{name}") for name, each in _table(value, key, key).items()}}


_KEYS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "select": lambda value, key: {"select": _prefixes(value, key)},
    "ignore": lambda value, key: {"ignore": _prefixes(value, key)},
    "extend-select": lambda value, key: {"extend_select": _prefixes(value, key)},
    "extend-ignore": lambda value, key: {"extend_ignore": _prefixes(value, key)},
    "severity": _severities,
    "per-layer-ignores": _ignores,
    "thresholds": _thresholds,
    "budgets": _budgets,
    "hardware": _hardware,
    "inputs": lambda value, key: {"inputs": _signatures(value, key)},
    "outputs": lambda value, key: {"outputs": _signatures(value, key)},
    "input-ranges": _ranges,
    "fail-on": lambda value, key: {"fail_on": parse_severity(value, key)},
}
