"""GN5: what changed since a lock file was written."""

from __future__ import annotations

from graphneurons.checks.base import Check

CHECKS: tuple[Check, ...] = ()
