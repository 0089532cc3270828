"""Whether a concept is carried: beyond every control, and beyond chance, however many were asked."""

from __future__ import annotations

import numpy as np

from graphneurons.probing.records import METRICS, Control, Floats, Score, Verdict

_NAMES = {"shuffled": "shuffled labels", "random": "random neurons", "untrained": "the untrained copy"}
def corrected(scores: list[Floats], best: Floats) -> list[Floats]:
    """p values of ``scores`` (concepts x readings of each), corrected for all concepts and readings at once.

    ``best``: (shuffles, concepts), the best reading for each shuffle of the labels, the same shuffle for all concepts.
    A reading is compared with the best of *all* readings of all concepts in each shuffle (single-step maxT, Westfall
    and Young 1993, "Resampling-Based Multiple Testing"): under the null no more than a share ``level`` of runs has any
    p below ``level``, whatever depends on what. Scores of different concepts are brought to one scale first, by mean
    and deviation of their best. The observed labelling counts as one of the shuffles (Phipson and Smyth 2010,
    "Permutation P-values Should Never Be Zero").
    """
    observed = np.array([one.max() for one in scores])
    pooled = np.vstack([best, observed])
    middle, spread = pooled.mean(axis=0), pooled.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    highest = np.sort(((best - middle) / spread).max(axis=1))
    found = []
    for index, one in enumerate(scores):
        standing = (one - middle[index]) / spread[index]
        # a shuffle that gives the very same labelling must count although it is computed in another order
        beyond = len(highest) - np.searchsorted(highest, standing - 1e-9, side="left")
        found.append((1 + beyond) / (1 + len(highest)))
    return found


def verdict(score: Score, p: float, controls: tuple[Control, ...], level: float, asked: int) -> Verdict:
    """``carries`` where the score is above the bounds of every control, its interval above that of the untrained copy
    (which is as uncertain as the score itself), and ``p`` below ``level``."""
    what = f"{METRICS[score.metric]} {score.value:.2f}"
    for control in controls:
        reached = score.low if control.kind == "untrained" else score.value
        if reached <= control.score.high:
            bounds = f" [{score.low:.2f}, {score.high:.2f}]" if control.kind == "untrained" else ""
            beaten = f"{_NAMES[control.kind]} (up to {control.score.high:.2f})"
            return Verdict(False, p, f"{what}{bounds} is not beyond {beaten}")
    if score.metric == "r2" and score.value <= 0:
        return Verdict(False, p, f"{what}: the mean of the numbers tells as much")
    if p >= level:
        among = f" of {asked:,} asked" if asked > 1 else ""
        return Verdict(False, p, f"{what}, but the best{among} is as good by chance: p = {p:.2g}")
    most = max(controls, key=lambda control: control.score.high)
    return Verdict(
        True, p, f"{what} is beyond every control ({_NAMES[most.kind]}: up to {most.score.high:.2f}), p = {p:.2g}"
    )


def selectivity(score: float, controls: tuple[Control, ...]) -> float:
    """Score minus that of the control that comes closest (Hewitt and Liang 2019). An r2 below 0 counts as 0: the mean
    of the numbers is always there to be told."""
    return score - max(_floor(control.score) for control in controls)


def _floor(score: Score) -> float:
    return max(score.value, 0.0) if score.metric == "r2" else score.value
