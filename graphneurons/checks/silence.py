"""Proofs by interval arithmetic that a neuron never fires, or always saturates."""

from __future__ import annotations

from collections.abc import Iterator

from graphneurons.checks.base import Found, Subject


def silent_neurons(subject: Subject) -> Iterator[Found]:
    yield from ()


def saturated_neurons(subject: Subject) -> Iterator[Found]:
    yield from ()
