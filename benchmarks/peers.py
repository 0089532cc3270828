"""The peers, and the environment they live in: outside the source tree, pinned, without telemetry or network."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINS = (ROOT / "constraints.txt", ROOT / "benchmarks" / "constraints.txt")
BASE = (ROOT / "benchmarks" / "requirements.txt",)
FORBIDDEN = ("torchvision",)
QUIET = {
    "CI": "1",
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "NO_ANALYTICS": "1",
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
ONE_THREAD = dict.fromkeys(("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
NOWHERE = {
    name: "http://127.0.0.1:9" for each in ("http_proxy", "https_proxy", "all_proxy") for name in (each, each.upper())
}


@dataclass(frozen=True, slots=True)
class Peer:
    """``module``: what must be importable for it to be measured."""

    distribution: str
    module: str


PEERS = (
    Peer("onnx-tool", "onnx_tool"),
    Peer("onnx-card", "onnx_card"),
    Peer("polygraphy", "polygraphy"),
    Peer("torchinfo", "torchinfo"),
    Peer("fvcore", "fvcore"),
    Peer("torch-pruning", "torch_pruning"),
    Peer("torch-kirigami", "torch_kirigami"),
    Peer("modelaudit", "modelaudit"),
)
SHOWN = ("onnx", "onnx-ir", "numpy", "protobuf", "torch", *(peer.distribution for peer in PEERS))
"""Distributions whose versions are reported."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment, and a copy of the sources to measure. ``missing``: peer -> why it is not there."""

    folder: Path
    missing: Mapping[str, str]

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def sources(self) -> Path:
        return self.folder / "sources"

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def variables(self, isolated: bool) -> dict[str, str]:
        """Nothing of the caller's but what programs need to start."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        path = os.pathsep.join((str(self.python.parent), os.environ.get("PATH", os.defpath)))
        own = {"PATH": path, "HOME": str(home), "PYTHONPATH": str(self.sources)}
        own |= {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
        return own | QUIET | ONE_THREAD | ({} if isolated else NOWHERE)

    def versions(self) -> dict[str, str]:
        """Distribution -> version, of what is there."""
        code = (
            "import json, sys\nfrom importlib.metadata import PackageNotFoundError, version\nfound = {}\n"
            "for name in sys.argv[1:]:\n    try:\n        found[name] = version(name)\n"
            "    except PackageNotFoundError:\n        pass\nprint(json.dumps(found))"
        )
        found: dict[str, str] = json.loads(subprocess.check_output([self.python, "-c", code, *SHOWN], text=True))
        return found


def prepared(folder: Path, say: Callable[[str], None]) -> Environment:
    """The environment in ``folder``, made or completed where its pins changed."""
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "venv" / "bin" / "python"
    stamp = folder / "venv" / "made-of"
    digest = hashlib.sha256(f"{sys.version} {PEERS}".encode())
    for file in (*PINS, *BASE):
        digest.update(file.read_bytes())
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        say(f"making the environment in {folder}: some minutes")
        venv.create(folder / "venv", with_pip=True, clear=True)
        failure = _install(python, [f"-r{file}" for file in BASE])
        if failure:
            raise SystemExit(f"benchmarks: the environment cannot be made: {failure}")
        for peer in PEERS:
            say(f"installing {peer.distribution}")
            failure = _install(python, [peer.distribution])
            (folder / "venv" / f"missing-{peer.distribution}").write_text(failure) if failure else None
        stamp.write_text(digest.hexdigest())
    missing = {}
    for peer in PEERS:
        reason = folder / "venv" / f"missing-{peer.distribution}"
        if reason.exists():
            missing[peer.distribution] = f"not installed: {reason.read_text()}"
        elif (done := _python(python, f"import {peer.module}")).returncode:
            missing[peer.distribution] = f"cannot be imported: {_last(done.stderr)}"
    return Environment(folder, missing)


def _install(python: Path, wanted: list[str]) -> str:
    """Why pip failed, or nothing."""
    pins = [option for file in PINS for option in ("-c", str(file))]
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins, *wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return (errors or [_last(done.stderr)])[0][:200]
    for name in FORBIDDEN:
        if _python(python, f"import {name}").returncode == 0:
            return f"{name} came with it"
    return ""


def _python(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, env=os.environ | QUIET)


def _last(text: str) -> str:
    return text.strip().splitlines()[-1][:200] if text.strip() else "no reason given"


def copy_sources(environment: Environment) -> None:
    """Measure a copy: what is edited meanwhile changes nothing, and no cache is written to the source tree."""
    shutil.rmtree(environment.sources, ignore_errors=True)
    for package in ("graphneurons", "benchmarks"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, environment.sources / package, ignore=ignored)
    subprocess.run([str(environment.python), "-m", "compileall", "-q", str(environment.sources)], check=False)


def cut_network() -> bool:
    """Leave this process and all it starts without a network; False where the system does not allow it (Linux only)."""
    new_network, new_user = 0x40000000, 0x10000000
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except (AttributeError, OSError):
        return False
    if unshare(new_network) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if unshare(new_user | new_network) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True
