"""Messages are parsed without the onnx package, and are the package's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from graphneurons.load import protobuf

MODEL = Path(__file__).parents[2] / "fixtures" / "mlp.onnx"


@pytest.mark.parametrize("before", ["", "import onnx"])
def test_onnx_gives_the_same_class_before_and_after(before: str) -> None:
    program = (
        f"import sys, graphneurons\n{before}\n"
        "graphneurons.analyze(sys.argv[1])\n"
        "print('onnx' in sys.modules)\n"
        "from graphneurons.load.protobuf import model_proto\n"
        "found = model_proto()\n"
        "import onnx\n"
        "onnx.checker.check_model(onnx.load(sys.argv[1]))\n"
        "print(found is onnx.ModelProto is onnx.onnx_ml_pb2.ModelProto is model_proto())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, MODEL], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(bool(before)), "True"]


@pytest.mark.parametrize("missing", ["find_spec", "PathFinder"])
def test_another_layout_of_the_package_is_imported_whole(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    class Nowhere:
        find_spec = staticmethod(lambda name, places=None: None)

    monkeypatch.setattr(protobuf, missing, Nowhere if missing == "PathFinder" else Nowhere.find_spec)
    monkeypatch.delitem(sys.modules, "onnx")
    protobuf._messages.cache_clear()
    try:
        assert protobuf.model_proto().DESCRIPTOR is onnx.ModelProto.DESCRIPTOR
    finally:
        protobuf._messages.cache_clear()


def test_every_supported_onnx_knows_these_operator_sets() -> None:
    assert 21 == protobuf.SURELY_KNOWN <= protobuf.newest_opset() == onnx.defs.onnx_opset_version()
