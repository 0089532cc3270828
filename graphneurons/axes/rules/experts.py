"""Mixtures of experts: two or three stacked linears in one op.

fc1 makes units ``h`` (twice as many rows where the gate is fused in: ``part`` numbers the two), fc3 units ``l`` that
multiply them, fc2 reads them as ``u`` and makes the outputs ``o``. ``e`` numbers experts.
"""

from __future__ import annotations

from graphneurons.axes.rules.site import NoRule, Shape, Site


def moe(site: Site) -> str:
    """com.microsoft MoE: fc1 (e, rows, in), fc2 (e, out, units), fc3 (e, units, in), each with a bias."""
    rows, sizes = _rows(site, site.shape(2), site.shape(4), 1)
    tokens, router = _tokens(site)
    return (
        f"experts: {tokens} i, {router} e, e {rows} i, ~e {rows}, e o u, ~e o, e l i, ~e l "
        f"-> {tokens} e {rows}, {tokens} e o, {tokens} e l => {tokens} o{sizes}"
    )


def _tokens(site: Site) -> tuple[str, str]:
    return ("t", "t") if site.known_rank(0) == 2 else ("b t", "(b t)")


def _rows(site: Site, first: Shape | None, second: Shape | None, pack: int) -> tuple[str, str]:
    """The rows of fc1: one per unit, or gate and value of a unit, next to each other or one half after the other."""
    if first is None or second is None or len(first) != 3 or len(second) != 3:
        raise NoRule("the shapes of the experts are not known")
    units = second[2] * pack
    if first[1] == units:
        return "h", ""
    if first[1] != 2 * units:
        raise NoRule(f"experts with {first[1]} rows feed {units} units")
    fusion = site.number("swiglu_fusion", 0)
    if fusion not in (1, 2):
        raise NoRule("experts with two rows per unit, and swiglu_fusion does not say which belong together")
    return ("(h part)" if fusion == 1 else "(part h)"), " | part=2"


def qmoe(site: Site) -> str:
    """com.microsoft QMoE: weights are packed along their synapses; scales and zero points per row or per block."""
    pack = _packing(site)
    rows, sizes = _rows(site, site.shape(2), site.shape(5), pack)
    first, second = site.shape(2), site.shape(5)
    if first is None or second is None:
        raise NoRule("the shapes of the experts are not known")
    if pack > 1 and first[2] != second[2]:
        raise NoRule(
            f"its weights pack {first[2] * pack} and {second[2] * pack} synapses per neuron; a rule counts one number"
        )
    inputs, hidden = ("x", "y") if pack > 1 else ("i", "u")
    tokens, router = _tokens(site)
    marks = [_scale(site, index, name) for index, name in ((3, rows), (6, "o"), (9, "l"))]
    if pack > 1:
        sizes = f"{sizes or ' |'} #={first[2] * pack}"
    return (
        f"experts: {tokens} i, {router} e, e {rows} {inputs}, {marks[0]}, ~e {rows}, "
        f"e o {hidden}, {marks[1]}, ~e o, e l {inputs}, {marks[2]}, ~e l "
        f"-> {tokens} e {rows}, {tokens} e o, {tokens} e l => {tokens} o{sizes}"
    )


def _packing(site: Site) -> int:
    kind = site.text("quant_type", "int")
    if site.number("weights_prepacked", 0) == 1:
        raise NoRule("its weights are packed for one accelerator; their rows cannot be told")
    if kind == "fp8":
        return 1
    if kind in ("fp4", "nvfp4", "wfp4afp8"):
        raise NoRule(f"weights of quant_type {kind} are packed for one accelerator; their rows cannot be told")
    bits = site.number("expert_weight_bits", 4)
    if any(site.number(f"fc{index}_expert_weight_bits", bits) != bits for index in (1, 2, 3)):
        raise NoRule("its weights have different widths, and one rule counts one number of synapses")
    if bits not in (2, 4, 8):
        raise NoRule(f"weights of {bits} bits are not described by onnxruntime's schema")
    return 8 // bits


def _scale(site: Site, index: int, rows: str) -> str:
    shape = site.shape(index)
    if not site.has(index) or shape is None:
        return "_"
    if len(shape) == 2:
        return f"%e {rows}"
    # Blocks of rows (fp8) do not align with single rows; blocks of synapses do.
    return "_" if site.text("quant_type", "int") == "fp8" else f"%e {rows} block{index}"
