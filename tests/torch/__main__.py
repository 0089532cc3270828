"""Writes the table of docs/pytorch.md: which front end takes which model of the zoo. ``python -m tests.torch``"""

from __future__ import annotations

import sys

from tests.torch.fronts import FRONTS, Front, takes
from tests.zoo.architectures import ZOO

TITLES = {"export": "torch.export", "pt2": ".pt2", "fx": "torch.fx", "dynamo": "ONNX dynamo", "legacy": "ONNX legacy"}
MARKS = {("bilinear", "export"): " *", ("bilinear", "pt2"): " *", ("bilinear", "fx"): " *", ("experts", "fx"): " **"}


def table() -> str:
    """The table in Markdown."""

    def cell(name: str, front: Front) -> str:
        return f"yes{MARKS.get((name, front), '')}" if takes(name, front) else "no"

    head = f"| model | {' | '.join(TITLES[front] for front in FRONTS)} |"
    rows = [f"| {name} | {' | '.join(cell(name, front) for front in FRONTS)} |" for name in ZOO]
    return "\n".join([head, "|---" * (len(FRONTS) + 1) + "|", *rows])


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
