"""The command line in this process and in its own, as the tests of the other commands run it."""

from tests.cli.conftest import cli, process

__all__ = ["cli", "process"]
