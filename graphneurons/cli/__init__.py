"""The command line: one file per command. The only place that prints or exits."""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``graphneurons`` command."""
    import sys

    from graphneurons.cli.running import no_numeric_warnings, run

    no_numeric_warnings()
    sys.exit(run(sys.argv[1:]))
