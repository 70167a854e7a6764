"""`ouro report`: the page of the last round, written again."""

from __future__ import annotations


def report() -> None:
    """Write report/index.html again from the results of the last round.

    \b
    Examples:
      ouro report
    """
    from tasks.report import rebuild

    rebuild()
