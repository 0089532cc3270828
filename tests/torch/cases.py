"""Every case of an ATen op, by name."""

from __future__ import annotations

from tests.torch.calling import Call
from tests.torch.contracting import CONTRACTING
from tests.torch.mixing import MIXING_CASES
from tests.torch.plain import PLAIN

CASES: dict[str, Call] = {case.name: case for case in (*CONTRACTING, *PLAIN, *MIXING_CASES)}
PROVED = {name: case for name, case in CASES.items() if not case.refused and not case.random}
