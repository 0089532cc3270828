"""What a coupled group says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from graphneurons.analysis import Role
from graphneurons.wiring.records import Integers

PartPlayed = Literal["neuron", "synapse", "shared", "lookup", "mixed", "modulator", "constant"]
"""The role an axis has in a layer (or ``modulator``); ``constant`` where only the graph reads the tensor (a mask)."""

Granularity = Literal["neuron", "head", "head width", "block", "across blocks"]
"""What one index of a group is: one neuron or channel; a whole head; the same place in every head; a whole run of an
axis that an op takes apart (a group of a grouped convolution); the same place in every run of it."""


@dataclass(frozen=True, slots=True)
class Run:
    """Group indices ``[start, stop)``: index ``i`` stands at coordinates ``first + step * (i - start) + stride * k``
    for ``k`` in ``range(count)``."""

    start: int
    stop: int
    first: int
    step: int
    count: int = 1
    stride: int = 0


class MemberUse(NamedTuple):
    """Where a stored axis is used: ``of``: the id of a layer, lookup or modulator; ``role``: what the axis is there."""

    of: str
    role: PartPlayed


class Member(NamedTuple):
    """One axis of one stored tensor. ``root``: the name of the value it is stored as; ``weight``: its own name.

    ``runs`` say at which coordinates of the axis every index of the group stands, or ``listed`` does, one row per
    index, where they follow no pattern.
    """

    weight: str
    root: str
    axis: int
    uses: tuple[MemberUse, ...]
    runs: tuple[Run, ...]
    listed: tuple[tuple[int, ...], ...] | None = None

    def coordinates(self, size: int) -> Integers:
        """The coordinates of every one of ``size`` indices, shape (size, coordinates per index)."""
        if self.listed is not None:
            return np.array(self.listed, dtype=np.int64).reshape(size, -1)
        columns: dict[int, list[Integers]] = {}
        for run in self.runs:
            rows = np.arange(run.stop - run.start, dtype=np.int64)[:, None] * run.step
            block = run.first + rows + np.arange(run.count, dtype=np.int64) * run.stride
            columns.setdefault(run.start, []).append(block)
        return np.concatenate([np.concatenate(blocks, axis=1) for _, blocks in sorted(columns.items())])


@dataclass(frozen=True, slots=True)
class Group:
    """Axes that share one index: what is cut, permuted or sharded along one of them must be along all.

    To cut index ``i`` is to delete its coordinates from the axis of every member (and to lower the sizes that the graph
    holds besides: targets of Reshape, sizes of Split, ``group``, ``hidden_size``, ``num_heads``). The result computes
    what the model computes with that neuron silenced, but where a normalisation takes a mean over the axis, and an
    attention op scales by a head's width by itself. To permute indices is to do so with the coordinates of every member
    in the order given: nothing changes.

    ``granularity`` tells what one index is; ``alternatives`` are the ids of groups that cut the same axes another way.
    ``fixed``: why no index can be cut, None if they all can.
    """

    id: str
    size: int
    members: tuple[Member, ...]
    granularity: Granularity = "neuron"
    alternatives: tuple[str, ...] = ()
    fixed: str | None = None

    def cut(self, index: int) -> Iterator[tuple[str, int, Integers]]:
        """(root, axis, coordinates) to delete so that index ``index`` is gone."""
        for member in self.members:
            yield member.root, member.axis, member.coordinates(self.size)[index]


__all__ = ["Granularity", "Group", "Member", "MemberUse", "PartPlayed", "Role", "Run"]
