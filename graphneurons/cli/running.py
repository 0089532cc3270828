"""Runs a command and turns whatever ends it into an exit code: 0 done, 2 error, 130 interrupted, 143 terminated."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143
FAILED = 2


def run(arguments: Sequence[str]) -> int:
    """Exit code of the command line ``arguments`` (without the program's name)."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        return _invoke(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        silence()
        return BROKEN_PIPE
    except Exception as error:
        from graphneurons.cli.failing import report

        report(error, "")
        silence()
        return FAILED


def no_numeric_warnings() -> None:
    """Keeps numpy's warnings of overflows off stderr, where a line is an error; ``GRAPHNEURONS_DEBUG=1`` shows them."""
    if os.environ.get("GRAPHNEURONS_DEBUG") != "1":
        import warnings

        warnings.simplefilter("ignore", RuntimeWarning)


def _terminate(_: int, __: FrameType | None) -> None:
    # An exception, so that a report half written is removed on the way out.
    raise SystemExit(TERMINATED)


def _invoke(arguments: Sequence[str]) -> int:
    import click

    from graphneurons.cli.commands import commands

    try:
        code = commands.main(list(arguments), prog_name="graphneurons", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return FAILED
    except click.ClickException as error:
        from graphneurons.cli.failing import complain

        context = getattr(error, "ctx", None)
        message = error.format_message()
        stop = "" if message.endswith((".", "?", "!", ")")) else "."
        complain(f"{message}{stop} Try '{context.command_path} --help'." if context else message)
        return FAILED


def silence() -> None:
    """Keeps the interpreter from writing the rest to a standard output that fails, and from complaining about it."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, AttributeError, ValueError):
        return
