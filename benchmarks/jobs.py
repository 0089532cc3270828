"""The table of jobs: who does them, and what is asked of this package."""

from __future__ import annotations

from itertools import product

from benchmarks.targets import Target
from benchmarks.ways import OWN, Job, Scaling, Script, Way, code, command, on_file, on_module

ANALYZE, CLI = "graphneurons.analyze", "graphneurons analyze"
CARD, TOOL, POLYGRAPHY, AUDIT = "onnx-card", "onnx-tool", "polygraphy inspect", "modelaudit (one run)"
LOAD, INFER, CHECK, IR = "onnx.load", "onnx.load without external data + shapes", "onnx.checker", "onnx_ir.load"
PRUNING, KIRIGAMI = "Torch-Pruning: build + groups", "torch-kirigami: build"
IMPORT_ONNX = "import onnx"
AUDITED = (0, 1, 2)
"""1: findings, 2: coverage incomplete; both come after all the work."""


def own(model: str) -> tuple[Way, ...]:
    return (on_file(ANALYZE, "analyze", model), command(CLI, f"{{python}} -m graphneurons analyze {{{model}}}"))


def readers(model: str) -> tuple[Way, ...]:
    return (
        on_file(LOAD, "onnx_load", model, peer="onnx"),
        on_file(INFER, "onnx_infer", model, peer="onnx"),
        on_file(CHECK, "onnx_check", model, peer="onnx"),
        on_file(IR, "onnx_ir_load", model, peer="onnx-ir"),
    )


def programs(model: str) -> tuple[Way, ...]:
    return (
        command(CARD, f"{{bin}}/onnx-card {{{model}}}", "onnx-card"),
        command(TOOL, f"{{python}} -m onnx_tool -i {{{model}}}", "onnx-tool"),
        command(POLYGRAPHY, f"{{bin}}/polygraphy inspect model {{{model}}}", "polygraphy"),
        command(
            AUDIT,
            f"{{bin}}/modelaudit scan --no-cache {{{model}}}",
            "modelaudit",
            timeout=300,
            allowed=AUDITED,
            slow=True,
            once=True,
        ),
    )


def structure(model: str, title: str, quick: bool = True) -> Job:
    """Structure and labels of a file of common size: below all peers."""
    below = tuple(
        Target(f"{said} of the process, beside {other}", CLI, metric, 1, "ratio", other)
        for other, (said, metric) in product((CARD, TOOL, POLYGRAPHY), (("wall", "wall"), ("CPU", "cpu")))
    )
    work = Target("CPU of the work, beside onnx.load", ANALYZE, "work_cpu", 1, "ratio", LOAD)
    ways = (*own(model), *readers(model), *programs(model))
    return Job(model, title, ways, (work, *below), quick=quick)


SINGLE = Job(
    "single",
    "Structure and labels of one file of 1.6 GB (two decoder blocks, 72 nodes)",
    (
        *own("single"),
        on_file("the same graph, 128 wide", "analyze", "single_tiny"),
        code(IMPORT_ONNX, "import onnx", peer="onnx"),
        *readers("single"),
        *programs("single"),
    ),
    (
        Target("CPU of the work, beside onnx.load", ANALYZE, "work_cpu", 1 / 50, "ratio", LOAD),
        Target("wall of the process, beside onnx-card", CLI, "wall", 0.15, "ratio", CARD),
        Target("peak over an interpreter with onnx", CLI, "mb", 100, "over", IMPORT_ONNX),
        Target("CPU of the work, beside the same graph 128 wide", ANALYZE, "work_cpu", 1.2, "ratio",
               "the same graph, 128 wide"),
    ),
)  # fmt: skip

EXTERNAL = Job(
    "external",
    "Structure and labels of 8.1 GB in external data (ten decoder blocks, 360 nodes)",
    (*own("external"), *readers("external")[1:]),
    left_out=tuple((name, "reads all external data, 8 GB and more") for name in (LOAD, CARD, TOOL, POLYGRAPHY)),
)

GRAPH = "roles and wiring, whole process"
NODES = Job(
    "nodes",
    "Roles and wiring of 50,000 nodes",
    (
        *own("nodes_50000"),
        code(GRAPH, "import sys, graphneurons; graphneurons.analyze(sys.argv[1])", "{nodes_50000}"),
        *(on_file(f"{ANALYZE}, {size:,} nodes", "analyze", f"nodes_{size}") for size in (5000, 10_000, 20_000)),
        *readers("nodes_50000"),
        *programs("nodes_50000"),
    ),
    (
        Target("CPU of the work, beside onnx_ir.load", ANALYZE, "work_cpu", 0.5, "ratio", IR),
        Target("wall of the process, beside polygraphy inspect", GRAPH, "wall", 0.5, "ratio", POLYGRAPHY),
        Target("CPU of the process, beside polygraphy inspect", GRAPH, "cpu", 0.5, "ratio", POLYGRAPHY),
        Target("CPU of the work, beside 5,000 nodes", ANALYZE, "work_cpu", 11, "ratio", f"{ANALYZE}, 5,000 nodes"),
    ),
    scaling=Scaling(
        "work_cpu",
        (*((size, f"{ANALYZE}, {size:,} nodes") for size in (5000, 10_000, 20_000)), (50_000, ANALYZE)),
    ),
)

GIVEN, FX, EXPORT, FILE = (f"{OWN}: {each} to groups" for each in ("graph", "torch.fx", "torch.export", "ONNX"))


def coupling(network: str, title: str, given: float, whole: float, quick: bool = True) -> Job:
    """Wiring and coupled groups: of a graph that is given, and from the module or the file on."""
    return Job(
        f"groups_{network}",
        title,
        (
            on_module(GIVEN, "traced_groups", network),
            on_module(FX, "fx_groups", network),
            on_module(EXPORT, "export_groups", network),
            on_file(FILE, "groups", network),
            on_module(PRUNING, "torch_pruning", network, peer="torch-pruning"),
            on_module(KIRIGAMI, "kirigami", network, peer="torch-kirigami"),
            on_module("torchinfo.summary", "torchinfo", network, peer="torchinfo", slow=True),
            on_module("fvcore: operations and parameters", "fvcore", network, peer="fvcore", slow=True),
        ),
        (
            Target("CPU, graph given, beside Torch-Pruning", GIVEN, "work_cpu", given, "ratio", PRUNING),
            Target("CPU with torch.fx before, beside Torch-Pruning", FX, "work_cpu", whole, "ratio", PRUNING),
            Target("CPU from the ONNX file on, beside Torch-Pruning", FILE, "work_cpu", whole, "ratio", PRUNING),
        ),
        repeats=(5, 1),
        quick=quick,
    )


EXPORTED, ADDED = "torch.export", "graphneurons on the exported program"
META = Job(
    "meta",
    "GPT-3 175B on the meta device",
    (
        on_module(EXPORTED, "torch_export", "gpt3", "gpt3_small", peer="torch", timeout=300),
        on_module(ADDED, "analyze_exported", "gpt3", "gpt3_small", timeout=300),
        on_module(PRUNING, "torch_pruning", "gpt3", "gpt3_small", peer="torch-pruning", slow=True, once=True),
    ),
    (
        Target("CPU of roles, counts and wiring, beside torch.export", ADDED, "work_cpu", 0.1, "ratio", EXPORTED),
        Target("memory they add to the peak", ADDED, "work_mb", 100),
    ),
    repeats=(5, 1),
)

READ, NAIVE, SCAN, NOTHING = "bare read", "onnx.load + naive numpy", "graphneurons health", "import onnx, numpy"


def scanned(kind: str, way: str) -> str:
    """The name of one way of `benchmarks/health_scan.py` on one kind of weights."""
    return f"{kind}: {way}"


SCANNED, PLAIN = "graphneurons.scan, decoder blocks", "the same without duplicates"
HEALTH = Job(
    "health",
    "Health scan of one file of weights, warm",
    (on_file(SCANNED, "scan", "single"), on_file(PLAIN, "scan_without_duplicates", "single")),
    (
        Target("wall of the process, float32, beside onnx.load + numpy", scanned("float32-rows", SCAN), "wall", 0.18,
               "ratio", scanned("float32-rows", NAIVE)),
        Target("wall of the process, float32, beside a bare read", scanned("float32-rows", SCAN), "wall", 3,
               "ratio", scanned("float32-rows", READ)),
        Target("the same", scanned("float32-rows", SCAN), "wall", 1.3,
               "ratio", scanned("float32-rows", READ), stretch=True),
        Target("peak over an interpreter with onnx and numpy", scanned("float32-rows", SCAN), "mb", 64,
               "over", scanned("float32-rows", NOTHING)),
        Target("wall of the process, float16, beside onnx.load + numpy", scanned("float16-rows", SCAN), "wall", 0.06,
               "ratio", scanned("float16-rows", NAIVE)),
        Target("CPU with duplicates, beside without", SCANNED, "work_cpu", 1.1, "ratio", PLAIN),
    ),
    scripts=(
        Script(("--gigabytes", "1.8", "--kinds", "float32-rows,float32-columns", "--repeat", "5"),
               ("--gigabytes", "0.36", "--kinds", "float32-rows", "--repeat", "3")),
        Script(("--gigabytes", "2", "--kinds", "float16-rows", "--repeat", "3"), None),
    ),
)  # fmt: skip

HELP, VERSION, SMALL = "--help", "--version", "analyze a small MLP"
BARE, IMPORT = "bare interpreter", "import graphneurons"
STARTING = Job(
    "starting",
    "Start-up, whole processes",
    (
        command(HELP, "{python} -m graphneurons --help"),
        command(VERSION, "{python} -m graphneurons --version"),
        command(SMALL, "{python} -m graphneurons analyze {small}"),
        code(BARE, "pass", peer="python"),
        code(IMPORT, "import graphneurons"),
        code(IMPORT_ONNX, "import onnx", peer="onnx"),
        command("onnx-card --help", "{bin}/onnx-card --help", "onnx-card"),
        command("polygraphy --help", "{bin}/polygraphy --help", "polygraphy"),
        command("modelaudit --help", "{bin}/modelaudit --help", "modelaudit"),
    ),
    (
        Target("CPU of --help", HELP, "cpu", 0.06),
        Target("CPU of --version", VERSION, "cpu", 0.06),
        Target("CPU of analyzing a small MLP, beside import onnx", SMALL, "cpu", 1.5, "ratio", IMPORT_ONNX),
        Target("CPU of import graphneurons, over a bare interpreter", IMPORT, "cpu", 0.02, "over", BARE),
    ),
    repeats=(21, 7),
)


def drawing(view: str) -> Way:
    text = f"{{python}} -m graphneurons render {{wide}} up --view {view} -o {{scratch}}/{view}.svg"
    return command(f"render, {view}", text, cold=("wide",))


RENDERING = Job(
    "rendering",
    "Pictures of a layer of 49,152 neurons from a cold file of 2.4 GB",
    (drawing("rows"), drawing("columns")),
    tuple(Target(f"CPU of the process, {view}", f"render, {view}", "cpu", 3) for view in ("rows", "columns")),
)

JOBS = (
    STARTING,
    SINGLE,
    EXTERNAL,
    structure("resnet50", "Structure and labels of ResNet-50 (dynamo exporter)"),
    structure("resnet50_legacy", "Structure and labels of ResNet-50 (legacy exporter)", quick=False),
    structure("gpt2", "Structure and labels of GPT-2 small (dynamo exporter)"),
    structure("gpt2_legacy", "Structure and labels of GPT-2 small (legacy exporter)", quick=False),
    NODES,
    coupling("resnet50", "Wiring and coupled groups of ResNet-50", 0.25, 1),
    coupling("densenet121", "Wiring and coupled groups of DenseNet-121", 0.1, 0.3, quick=False),
    coupling("vit_b", "Wiring and coupled groups of ViT-B/16", 0.1, 0.5),
    META,
    HEALTH,
    RENDERING,
)
