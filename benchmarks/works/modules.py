"""Works on PyTorch modules. A subject is a name of `benchmarks.models.networks`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]


def _network(name: str) -> Any:
    from benchmarks.models.networks import network

    return network(name)


def traced_groups(name: str) -> Call:
    """Roles, wiring and coupled groups of a graph that was traced before."""
    import graphneurons

    module, arguments = _network(name)
    graph = graphneurons.trace(module, *arguments)
    return lambda: graphneurons.analyze(graph).groups


def fx_groups(name: str) -> Call:
    return _groups(name, "fx")


def export_groups(name: str) -> Call:
    return _groups(name, "export")


def _groups(name: str, how: Any) -> Call:
    import graphneurons

    module, arguments = _network(name)
    return lambda: graphneurons.analyze(graphneurons.trace(module, *arguments, how=how)).groups


def torch_pruning(name: str) -> Call:
    import torch_pruning

    module, arguments = _network(name)

    def call() -> Any:
        graph = torch_pruning.DependencyGraph().build_dependency(module, example_inputs=arguments)
        return list(graph.get_all_groups())

    return call


def kirigami(name: str) -> Call:
    """Its graph alone: listing the candidates of ResNet-50 takes minutes."""
    from torch_kirigami import DependencyGraph

    module, arguments = _network(name)
    return lambda: DependencyGraph.build(module, args=arguments)


def torchinfo(name: str) -> Call:
    import torchinfo

    module, arguments = _network(name)
    return lambda: torchinfo.summary(module, input_data=arguments, device="cpu", verbose=0)


def fvcore(name: str) -> Call:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    module, arguments = _network(name)
    analysis = FlopCountAnalysis(module, arguments).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return lambda: (analysis.total(), parameter_count(module))


def torch_export(name: str) -> Call:
    import torch.export

    module, arguments = _network(name)
    return lambda: torch.export.export(module, arguments, strict=False)


def analyze_exported(name: str) -> Call:
    """Roles, counts and wiring of a program that was exported before."""
    import graphneurons

    program = torch_export(name)()
    return lambda: graphneurons.analyze(graphneurons.trace(program))


WORKS: dict[str, Callable[[str], Call]] = {
    work.__name__: work
    for work in (
        traced_groups,
        fx_groups,
        export_groups,
        torch_pruning,
        kirigami,
        torchinfo,
        fvcore,
        torch_export,
        analyze_exported,
    )
}
