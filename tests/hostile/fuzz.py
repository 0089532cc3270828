"""Makes damaged models, the same ones every time. ``python -m tests.hostile.fuzz BASE INDEX FILE`` writes one."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from random import Random

from .byte_mutations import bytewise, wirewise
from .field_mutations import fieldwise
from .seeds import SEEDS

BASE = 20_240_607
WAYS = {"bytes": bytewise, "wire": wirewise, "fields": fieldwise}


@cache
def seeds() -> dict[str, bytes]:
    return {name: make().SerializeToString() for name, make in SEEDS.items()}


def damaged(base: int, index: int) -> tuple[str, bytes]:
    """What was done, and the model it was done to. Depends on ``base`` and ``index`` alone."""
    random = Random(f"{base}:{index}")
    name, other = random.choices(list(SEEDS), k=2)
    way = random.choices(list(WAYS), weights=(2, 3, 5))[0]
    return f"{way} of {name!r}", WAYS[way](seeds()[name], seeds()[other], random)


if __name__ == "__main__":
    done, data = damaged(int(sys.argv[1]), int(sys.argv[2]))
    Path(sys.argv[3]).write_bytes(data)
    print(f"{sys.argv[3]}: {done}")
