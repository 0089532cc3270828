"""What is found of the defects that are injected: the rows of docs/detection.md, and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

import graphneurons
from graphneurons.checks.base import Finding, Subject
from graphneurons.checks.locking import Reference, dumps, lock, reference_of
from graphneurons.checks.policy import parse_policy
from graphneurons.checks.running import run
from graphneurons.errors import GraphNeuronsError
from tests.checks.defects import DEFECTS, Defect, Expected
from tests.checks.models import HEALTHY, checked, found
from tests.checks.real_defects import REAL_DEFECTS, RealDefect
from tests.checks.real_models import QUANTIZED, Ground, ground, whole_zoo
from tests.checks.sought import Place, Sought

PAGE = Path(__file__).parents[2] / "docs" / "detection.md"
MOST = 8
"""Files that every defect is injected into, of those that have a place for it."""
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Outcome:
    """One injection. ``caught``: found at every place; ``wrong``: findings of the same rule elsewhere; ``codes``: of
    the rules that found it; ``also``: of other rules that say nothing of the untouched file."""

    file: str
    caught: bool
    wrong: tuple[str, ...]
    codes: tuple[str, ...]
    also: tuple[str, ...]
    told: str


def outcomes(defect: RealDefect, folder: Path) -> list[Outcome]:
    """Of one defect in up to `MOST` files, chosen at random."""
    random = np.random.default_rng([20, *defect.name.encode()])
    made: list[Outcome] = []
    for at in random.permutation(len(defect.grounds)):
        if len(made) == MOST:
            break
        where = ground(*defect.grounds[int(at)])  # type: ignore[arg-type]
        model = where.copy()
        sought = defect.inject(where, model, random)
        if sought is not None:
            made.append(_outcome(where, model, sought, folder / "model.onnx"))
    return made


def _outcome(where: Ground, made: onnx.ModelProto, sought: Sought, path: Path) -> Outcome:
    onnx.save(made, path)
    other = _locked(where, path.with_suffix(".lock.json")) if sought.against else None
    try:
        policy = parse_policy(sought.policy, "policy")
        findings = run(Subject(graphneurons.analyze(path), policy, other)).findings
    except GraphNeuronsError as error:
        # Exit code 2: the gate stays shut, but nothing says where.
        return Outcome(where.name, False, ("exit 2",), (), (), str(error))
    before = Counter(map(_mark, where.report.findings))
    new = [each for each in findings if before[_mark(each)] == 0]
    same = [each for each in new if each.code in sought.codes]
    right = [each for each in same if _fits(each, sought)]
    caught = bool(right) and all(any(_is(place, each) for each in right) for place in sought.places)
    # Whoever reads a layer that became another one changed with it: drift is true there too.
    wrong = () if sought.against else tuple(f"{each.code} {each.layer}" for each in same if each not in right)
    codes = tuple(sorted({each.code for each in right}))
    also = tuple(sorted({each.code for each in new} - set(sought.codes)))
    told = "; ".join(f"{each.code} {each.layer} {each.neurons} {each.message}" for each in new[:6])
    return Outcome(where.name, caught, wrong, codes, also, f"sought {sorted(map(str, sought.places))[:3]}, got {told}")


def _locked(where: Ground, path: Path) -> Reference:
    path.write_text(dumps(lock(where.analysis)), encoding="utf-8")
    return reference_of(path)


def _mark(finding: Finding) -> tuple[object, ...]:
    return finding.code, finding.layer, finding.weight, finding.axis, finding.message


def _fits(finding: Finding, sought: Sought) -> bool:
    if sought.weight is not None:
        return finding.weight == sought.weight
    if sought.axis is not None and finding.axis != sought.axis:
        return False
    return not sought.places or any(_is(place, finding) for place in sought.places)


def _is(place: Place, finding: Finding) -> bool:
    """Whether a finding is of this layer and these neurons. A layer that is no longer one is known by its op; where
    layers are coupled, all of them are told."""
    layer, neurons = place
    if neurons is not None and neurons != finding.neurons:
        return False
    known = (finding.layer, f"{finding.layer}.{finding.evidence.get('op')}", *finding.evidence.get("layers", ()))
    return layer is None or layer in known


def row(defect: RealDefect, made: list[Outcome]) -> str:
    """The line of one defect in real exports."""
    also = Counter(code for each in made for code in each.also)
    codes = sorted({code for each in made for code in each.codes})
    caught = sum(each.caught for each in made)
    wrong = sum(bool(each.wrong) for each in made)
    kinds = len({each.file.split(".")[0] for each in made})
    told = ", ".join(f"{code} {count}" for code, count in sorted(also.items()))
    numbers = f"{kinds} | {len(made)} | {caught} | {len(made) - caught} | {wrong}"
    return f"| {defect.name} | {', '.join(codes)} | {numbers} | {told} |"


SMALL: dict[tuple[str, str], list[Defect]] = {}
"""(Rule, name) -> the same defect in several small models."""
for _defect in DEFECTS:
    _random = np.random.default_rng(0)
    SMALL.setdefault((_defect.inject(HEALTHY[_defect.model](_random), _random).code, _defect.name), []).append(_defect)


def small_outcome(defect: Defect, seed: int, folder: Path) -> tuple[Expected, list[str], list[str]]:
    """What was expected, the codes found at the right place, and the codes found in all."""
    random = np.random.default_rng([seed, *defect.name.encode()])
    made = HEALTHY[defect.model](random)
    expected = defect.inject(made, random)
    report = checked(made, folder, dict(expected.policy))
    right = [
        finding.code
        for finding in found(report, expected.code)
        if (expected.layer is None or finding.layer == expected.layer)
        and (expected.neurons is None or finding.neurons == expected.neurons)
    ]
    return expected, right, [finding.code for finding in report.findings]


def small_row(code: str, name: str, made: list[tuple[Expected, list[str], list[str]]]) -> str:
    """The line of one defect in small models."""
    caught = sum(bool(right) for _, right, _ in made)
    wrong = sum(codes.count(code) > right.count(code) for _, right, codes in made)
    also = Counter(other for _, _, codes in made for other in set(codes) - {code})
    told = ", ".join(f"{other} {count}" for other, count in sorted(also.items()))
    return f"| {name} | {code} | {len(made)} | {caught} | {len(made) - caught} | {wrong} | {told} |"


def untouched() -> Iterator[Ground]:
    """Every file of the zoo that can be written, and what onnxruntime's quantizer makes of some."""
    for name, how in whole_zoo():
        yield ground(name, how)
    for each in QUANTIZED:
        yield ground(*each)


def false_alarms(where: Ground) -> list[Finding]:
    """What is said of an untouched file, and the file itself does not show to be true."""
    return [each for each in where.report.findings if where.why(each) is None]


def told_row(where: Ground) -> str:
    """The line of an untouched file that something is said of."""
    codes = ", ".join(dict.fromkeys(each.code for each in where.report.findings))
    reasons = "; ".join(dict.fromkeys(where.why(each) or "**false**" for each in where.report.findings))
    return f"| {where.name} | {codes} | {len(where.report.findings)} | {reasons} |"


def page(folder: Path) -> str:
    """docs/detection.md."""
    real = [row(each, outcomes(each, folder)) for each in REAL_DEFECTS]
    small = [
        small_row(code, name, [small_outcome(each, seed, folder) for each in defects for seed in SEEDS])
        for (code, name), defects in sorted(SMALL.items())
    ]
    grounds = list(untouched())
    told = [told_row(each) for each in grounds if each.report.findings]
    wrong = sum(len(false_alarms(each)) for each in grounds)
    neurons = sum(each.report.neurons for each in grounds)
    return TEXT.format(
        most=MOST, real="\n".join(real), small="\n".join(small), told="\n".join(told), files=len(grounds),
        clean=sum(not each.report.findings for each in grounds), wrong=wrong, neurons=f"{neurons:,}",
        seeds=len(SEEDS), models=len(HEALTHY),
    )  # fmt: skip


TEXT = """# What `check` finds

Written by `python -m tests.checks`, which injects every defect anew and prints this page; a test fails if it is not
current. *Caught*: told by a rule for it at the layer, neurons and axis of the defect. *Elsewhere*: the same rule also
told something of another place. *Also said*: what other rules tell that they do not tell of the untouched file (a
neuron whose weights are all 20,000 is also constant).

## Defects in real exports

Models exported by both of PyTorch's exporters, and quantized by onnxruntime; every defect at a random place in up to
{most} of the files that have a place for it.

| defect | found by | architectures | files | caught | missed | elsewhere | also said |
|---|---|---:|---:|---:|---:|---:|---|
{real}

GN5 compares with a lock file of the untouched model: a square weight that is transposed, weights of two layers that
were swapped, the weights of another training and a bias that is gone leave a healthy model, only another one. Without
`--against` they are not found.

A QOperator weight with as many synapses as neurons tells nothing of its axis: scales computed along the wrong one are
as many as they should be, so nothing is said of them in one file (GN302 finds the others by their length, and in QDQ
files GN301 reads the axis). Against the model before quantization it is seen: with `GN506.most = 0.05` rounding passes
and scales of the wrong axis do not.

A ReLU is called silent only where bounds prove it, and bounds grow with every layer that no normalisation and no
saturating activation follows. The biases injected here are -1e37: in a deep network a smaller one may not be provable.

## Untouched files

Nothing is said of {clean} of {files} files with {neurons} neurons, and there are {wrong} false alarms. What is said is
true, as the files themselves show:

| file | rule | findings | why |
|---|---|---:|---|
{told}

## Defects in small models

{models} models of a few layers, with random weights, {seeds} times each.

| defect | rule | injected | caught | missed | elsewhere | also said |
|---|---|---:|---:|---:|---:|---|
{small}
"""
