"""``graphneurons check``: the gate before a model is deployed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import click

from graphneurons.errors import GraphNeuronsError, UsageError

if TYPE_CHECKING:
    from graphneurons.checks.base import CheckReport, ModelReport, Severity
    from graphneurons.checks.policy import Policy

Format = Literal["full", "concise", "json", "sarif", "junit", "github", "gitlab", "markdown"]
FORMATS: tuple[Format, ...] = ("full", "concise", "json", "sarif", "junit", "github", "gitlab", "markdown")
MOST_PROCESSES = 16
DATA_ENDINGS = (".data", "_data")
"""Of files with external data: ``model.onnx.data`` as torch writes it, ``model.onnx_data`` as others do."""


@dataclass(frozen=True, slots=True)
class Task:
    """One model to check, in this process or another."""

    path: str
    policy: Policy
    shapes: Mapping[str, tuple[int, ...]]
    dims: Mapping[str, int]
    against: str | None
    ranges: tuple[str, ...] = ()
    """Inputs that ``--input-range`` names; those of a policy may be of other models."""


@click.command("check", short_help="A gate before deployment: rules about weights and wiring.", no_args_is_help=True)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=click.Path(readable=False))
@click.option("--config", type=click.Path(), metavar="FILE", help="The policy.  [default: found upwards from here]")
@click.option("--isolated", is_flag=True, help="Look for no policy.")
@click.option("--select", multiple=True, metavar="CODE,...", help="Only rules that begin so; repeatable.")
@click.option("--extend-select", multiple=True, metavar="CODE,...", help="Also these.")
@click.option("--ignore", multiple=True, metavar="CODE,...", help="Not these.")
@click.option(
    "--fail-on", type=click.Choice(["error", "warning", "info"]), help="Least severity that fails.  [default: warning]"
)
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found (not if models cannot be checked).")
@click.option("--format", type=click.Choice(FORMATS), default="full", show_default=True)
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write to FILE instead of standard output.")
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT=FILE", help="Also write FILE in FORMAT; repeatable."
)
@click.option("--baseline", type=click.Path(), metavar="FILE", help="Findings listed there do not count.")
@click.option("--write-baseline", type=click.Path(), metavar="FILE", help="List all findings there, and exit with 0.")
@click.option("--against", type=click.Path(), metavar="LOCK|MODEL", help="Also tell what drifted from it.")
@click.option(
    "--input-range", "ranges", multiple=True, metavar="NAME=-1,1", help="Values an input can have; repeatable."
)
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,224,224", help="Shape of an input; repeatable.")
@click.option("--dim", "dims", multiple=True, metavar="NAME=128", help="Size of a dynamic dimension; repeatable.")
@click.option("--jobs", type=click.IntRange(1, MOST_PROCESSES), help="Models checked at once.  [default: one per core]")
def command(
    models: tuple[str, ...],
    config: str | None,
    isolated: bool,
    select: tuple[str, ...],
    extend_select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: Severity | None,
    exit_zero: bool,
    format: Format,
    output: str | None,
    reports: tuple[str, ...],
    baseline: str | None,
    write_baseline: str | None,
    against: str | None,
    ranges: tuple[str, ...],
    shapes: tuple[str, ...],
    dims: tuple[str, ...],
    jobs: int | None,
) -> int:
    """Checks models for what makes them fail after deployment: lost and dead neurons, NaN, scales on the wrong axis.

    MODEL is an ONNX file or an exported program (.pt2); a directory (every .onnx file below it: a model repository); or
    a glob such as 'models/**/*.onnx'. Models are read, never run. `graphneurons explain` lists the rules.

    \b
    Examples:
      graphneurons check model.onnx
      graphneurons check models/ --format sarif -o findings.sarif
      graphneurons check models/ --format github --report sarif=findings.sarif --report markdown=summary.md
      graphneurons check model.onnx --select GN1,GN3 --fail-on error
      graphneurons check model.onnx --write-baseline known.json
      graphneurons check model.onnx --baseline known.json
      graphneurons check model.onnx --against model.lock.json

    Exit code: 0 if clean, 1 if there are findings at or above --fail-on, 2 if something could not be looked at.
    """
    from graphneurons.cli.failing import complain, report

    if config is not None and isolated:
        raise click.UsageError("--config and --isolated exclude each other")
    if baseline is not None and write_baseline is not None:
        raise click.UsageError("--baseline and --write-baseline exclude each other")
    try:
        from graphneurons.checks.baseline import read_baseline, without, written
        from graphneurons.cli.arguments import parse_dims, parse_shapes
        from graphneurons.cli.writing import check_target, emit
        from graphneurons.cli.writing import replace as write

        paths = matching(models)
        policy = _policy(config, isolated, (select, extend_select, ignore), ranges, fail_on)
        files = _files(format, output, reports)
        read = [*paths, *(each for each in (config, against, baseline) if each is not None)]
        for target in (*files, *(() if write_baseline is None else (write_baseline,))):
            check_target(target, read)
        if write_baseline in files:
            raise UsageError("is given twice: for a report and for the baseline", file=write_baseline)
        known = None if baseline is None else read_baseline(baseline)
        given, sizes = parse_shapes(shapes), parse_dims(dims)
        named = tuple(_range(text)[0] for text in ranges)
        tasks = [Task(path, policy, given, sizes, against, named) for path in paths]
        if against is not None:
            _readable(against)
    except (GraphNeuronsError, OSError) as error:
        report(error, "")
        return 2
    found = _checked(tasks, jobs, policy.fail_on)
    if write_baseline is not None:
        exit_zero = True
        if all(model.error is None and model.unread is None for model in found.models):
            write(write_baseline, written(found, write_baseline))
    if known is not None and baseline is not None:
        before, found = found, without(found, known, baseline)
        for was, now in zip(before.models, found.models, strict=True):
            if was.error is None and now.error is not None:
                complain(now.error)
    for file, kind in files.items():
        write(file, rendered(found, kind, on_screen=False))
    if output is None:
        emit([rendered(found, format, on_screen=True)])
    return found.exit_code if found.exit_code != 1 or not exit_zero else _excused(found)


def _excused(found: CheckReport) -> int:
    """The exit code where findings do not fail: 0, but 2 where nothing could be read of a model."""
    from graphneurons.cli.failing import complain

    unread = [model for model in found.models if model.unread is not None]
    for model in unread:
        complain(f"{model.path}: {model.unread}")
    return 2 if unread else 0


def _files(format: Format, output: str | None, reports: Iterable[str]) -> dict[str, Format]:
    """The files to write, and in which format. Raises UsageError for an unknown format and a file given twice."""
    files: dict[str, Format] = {} if output is None else {output: format}
    for text in reports:
        kind, is_given, file = text.partition("=")
        chosen = next((each for each in FORMATS if each == kind), None)
        if chosen is None or not is_given:
            raise UsageError(f"--report {text}: expected FORMAT=FILE, FORMAT one of {', '.join(FORMATS)}")
        if file in files:
            raise UsageError("is given twice; every report needs a file of its own", file=file)
        files[file] = chosen
    return files


def matching(arguments: Sequence[str]) -> list[str]:
    """The models that files, directories and globs name, each once. Raises UsageError where one names nothing."""
    from glob import glob

    from graphneurons.cli.arguments import find_models

    found: list[str] = []
    for argument in arguments:
        if not argument:
            raise UsageError("a MODEL is empty; name a file, a directory or a pattern")
        if argument.endswith(DATA_ENDINGS) and os.path.isfile(argument):
            found.extend(_beside(argument))
        elif not os.path.lexists(argument) and any(each in argument for each in "*?["):
            hits = sorted(hit for hit in glob(argument, recursive=True) if os.path.isfile(hit))
            if not hits:
                raise UsageError("no file matches this pattern", file=argument)
            found.extend(hits)
        else:
            found.extend(find_models([argument]))
    once: dict[str, str] = {}
    for path in found:
        # What .. means depends on symbolic links.
        once.setdefault(path if ".." in path else os.path.normpath(path), path)
    return list(once.values())


def _beside(data: str) -> list[str]:
    """The models that external data stands for: the one it is called after, or else all in its directory."""
    named = next((data[: -len(ending)] for ending in DATA_ENDINGS if data.endswith(ending)), data)
    folder = os.path.dirname(data)
    models = [os.path.join(folder, name) for name in sorted(os.listdir(folder or ".")) if name.endswith(".onnx")]
    if not models:
        raise UsageError("is external data by its name, and no .onnx file lies beside it; name the model", file=data)
    return [model for model in models if model in (named, f"{named}.onnx")] or models


def _policy(
    config: str | None,
    isolated: bool,
    chosen: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
    ranges: Iterable[str],
    fail_on: Severity | None,
) -> Policy:
    from graphneurons.checks.policy import DEFAULT, extended, find_policy, read_policy

    if config is not None:
        policy = read_policy(config)
    else:
        file = None if isolated else find_policy()
        policy = DEFAULT if file is None else read_policy(file)
    select, more, ignore = (_codes(each) for each in chosen)
    policy = extended(policy, select, ignore, more)
    declared = {**policy.ranges, **dict(_range(text) for text in ranges)}
    return replace(policy, ranges=declared, fail_on=fail_on or policy.fail_on)


def _codes(given: Iterable[str]) -> list[str]:
    return [code.strip() for text in given for code in text.split(",") if code.strip()]


def _range(text: str) -> tuple[str, tuple[float, float]]:
    from graphneurons.checks.policy import parse_range

    name, _, bounds = text.rpartition("=")
    try:
        numbers = [float(each) for each in bounds.split(",")]
    except ValueError:
        numbers = []
    if not name:
        numbers = []
    return name, parse_range(numbers, f"--input-range {text}")


def _readable(against: str) -> None:
    from graphneurons.checks.locking import reference_of

    if against.lower().endswith(".json"):
        reference_of(against)
    elif not os.path.exists(against):
        raise UsageError("does not exist; write one with `graphneurons lock MODEL -o LOCK`", file=against)


def _checked(tasks: Sequence[Task], jobs: int | None, fail_on: Severity) -> CheckReport:
    from graphneurons.checks.base import CheckReport
    from graphneurons.cli.failing import complain
    from graphneurons.cli.writing import progress

    processes = min(jobs or os.cpu_count() or 1, len(tasks), MOST_PROCESSES)
    done: list[ModelReport] = []
    waiting = _reports(tasks, processes)
    for task in tasks:
        with progress(f"checking {task.path} ({len(done) + 1} of {len(tasks)})"):
            model = next(waiting)
        if model.error is not None:
            complain(model.error)
        done.append(model)
    return CheckReport(tuple(done), fail_on)


def _reports(tasks: Sequence[Task], processes: int) -> Iterator[ModelReport]:
    if processes <= 1:
        yield from map(check_one, tasks)
        return
    from graphneurons.cli.parallel import in_parallel

    yield from in_parallel(check_one, tasks, processes, _lost)


def _lost(task: Task) -> ModelReport:
    from graphneurons.checks.base import ModelReport
    from graphneurons.errors import printable

    name = printable(task.path, 1000)
    return ModelReport(task.path, error=f"{name}: the process that checked it died (out of memory?); try --jobs 1")


def check_one(task: Task) -> ModelReport:
    """The report of one model; if it cannot be checked, a report that says why."""
    from graphneurons.analyzing import analyze
    from graphneurons.checks.base import ModelReport, Subject
    from graphneurons.checks.locking import reference_of
    from graphneurons.checks.running import run
    from graphneurons.cli.arguments import shapes_for
    from graphneurons.cli.failing import said
    from graphneurons.load import load

    try:
        graph = load(task.path)
        names = [value.name for value in graph.inputs]
        unknown = next((name for name in task.ranges if name not in names), None)
        if unknown is not None:
            raise UsageError(f"--input-range: no input is called {unknown!r}; the inputs are {', '.join(names[:20])}")
        analysis = analyze(graph, shapes=shapes_for(graph.inputs, task.shapes), dims=task.dims)
        other = None if task.against is None else reference_of(task.against)
        return replace(run(Subject(analysis, task.policy, other)), path=task.path)
    except Exception as error:
        return ModelReport(task.path, error=said(error, task.path))


def rendered(report: CheckReport, format: Format, *, on_screen: bool) -> str:
    """The report as text in one of `FORMATS`."""
    from graphneurons.cli.writing import view_for
    from graphneurons.reports import findings, github, gitlab, junit, sarif
    from graphneurons.reports.lines import painted, plain

    if format in ("full", "concise"):
        view, colour = view_for(on_screen)
        lines = findings.full(report, view.width, view.glyphs) if format == "full" else findings.concise(report)
        return "".join((painted if colour else plain)(lines))
    writers = {
        "json": findings.dumps, "sarif": sarif.dumps, "junit": junit.dumps,
        "github": github.dumps, "gitlab": gitlab.dumps, "markdown": findings.markdown,
    }  # fmt: skip
    return writers[format](report)
