"""``graphneurons explain``: what a rule does, why, and how to fix what it finds."""

from __future__ import annotations

import click


@click.command("explain", short_help="What a rule of check does, and how to fix what it finds.")
@click.argument("rule", required=False, metavar="[CODE]")
@click.option("--all", "everything", is_flag=True, help="Every rule.")
@click.option("--write", "folder", type=click.Path(), metavar="DIRECTORY", help="Write one Markdown page per rule.")
def command(rule: str | None, everything: bool, folder: str | None) -> int:
    """Explains a rule by its code or name; lists a family of rules; without CODE, lists all rules.

    \b
    Examples:
      graphneurons explain
      graphneurons explain GN2
      graphneurons explain GN203
      graphneurons explain silent-neuron

    Exit code: 0, or 2 for a rule that does not exist.
    """
    from graphneurons.checks.registry import check_of, checks
    from graphneurons.cli.failing import report
    from graphneurons.cli.writing import emit, replace
    from graphneurons.errors import UsageError
    from graphneurons.reports.rules import listing, page, pages

    if sum((rule is not None, everything, folder is not None)) > 1:
        raise click.UsageError("CODE, --all and --write exclude each other")
    try:
        if folder is not None:
            import os

            for name, text in pages(checks().values()).items():
                replace(os.path.join(folder, name), text)
        elif rule is not None and any(family := [each for each in checks().values() if each.code[:3] == rule.upper()]):
            emit([listing(family)])
        elif rule is not None:
            emit([page(check_of(rule))])
        elif everything:
            emit("\n".join(page(each) for each in checks().values()).splitlines(keepends=True))
        else:
            emit([listing(checks().values())])
    except (UsageError, OSError) as error:
        report(error, "")
        return 2
    return 0
