"""The documentation of rules, as their docstrings write it."""

from __future__ import annotations

from collections.abc import Iterable

from graphneurons.checks.base import Check
from graphneurons.checks.registry import FAMILIES


def page(check: Check) -> str:
    """One rule as Markdown that also reads well in a terminal."""
    told = check.documentation
    limits = "".join(f"- `{check.code}.{name}` (default {value:g})\n" for name, value in check.limits.items())
    parts = [
        f"# {check.name} ({check.code})\n",
        f"Severity: {check.severity}. {'Reads the weights.' if check.reads_weights else 'Reads no weights.'}\n",
        f"## What it does\n\n{told.title}\n\n{told.what}\n",
        f"## Why is this bad?\n\n{told.why}\n",
        f"## Example\n\n{told.example}\n",
        f"## How to fix\n\n{told.fix}\n",
    ]
    return "\n".join(parts) + (f"\n## Thresholds\n\n{limits}" if limits else "")


def listing(checks: Iterable[Check]) -> str:
    """All rules, one line each, by family."""
    lines: list[str] = []
    family = ""
    for check in checks:
        if check.code[:3] != family:
            family = check.code[:3]
            lines.append(f"{'' if not lines else chr(10)}{family}  {FAMILIES[family]}\n")
        lines.append(f"  {check.code}  {check.severity:<7}  {check.name:<24} {check.documentation.title}\n")
    return "".join(lines)


def pages(checks: Iterable[Check]) -> dict[str, str]:
    """File name -> text: one page per rule, and an index."""
    found = list(checks)
    written = {f"{check.code}.md": page(check) for check in found}
    index = ["# Rules\n", "\nWritten by `graphneurons explain --write docs/rules`; do not edit.\n"]
    family = ""
    for check in found:
        if check.code[:3] != family:
            family = check.code[:3]
            index.append(f"\n## {family}: {FAMILIES[family]}\n\n| code | name | severity | |\n|---|---|---|---|\n")
        link = f"[{check.code}]({check.code}.md)"
        index.append(f"| {link} | {check.name} | {check.severity} | {check.documentation.title} |\n")
    written["index.md"] = "".join(index)
    return written
