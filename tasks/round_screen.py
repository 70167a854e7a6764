"""Terminal output of a round: its tables, and its wall seconds by stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ouro.core.layout import PIPELINE
from tasks import screen
from tasks.report import comparisons, notes
from tasks.round_tracking import result_paths
from tasks.timing import LAST_ROUND, work_seconds

if TYPE_CHECKING:
    from ouro.benchmarks.comparison import Comparison
    from ouro.benchmarks.intervals import Estimate
    from ouro.core.params import Params
    from ouro.rounds.ledger import Round
    from tasks import tracking


def say_params(params: Params, difference: str) -> None:
    """Print the changes of params.yaml, and the notes on these params."""
    if difference:
        screen.say(f"params.yaml now says:\n{difference.rstrip()}")
    for note in notes(params):
        screen.say(f"note: {note}")


def show_round(
    record: Round, parent: tracking.Run, report: Path, seconds: Mapping[str, float], wall: float
) -> None:  # fmt: skip
    """Print scores, paths of the results, the verdict, and seconds by stage."""
    for comparison in comparisons(PIPELINE.scores / "scores.json"):
        show(comparison)
    for name, path in {**result_paths(parent), "report": str(report)}.items():
        screen.say(f"{name}: {path}")
    say_verdict(record)
    say_times(seconds, wall)


def show(c: Comparison) -> None:
    """The table of one arm, in percentage points; in brackets 95% intervals over images."""
    from rich.markup import escape
    from rich.table import Table

    from ouro.pages.report import points, signed

    def at(e: Estimate) -> str:
        return f"{points(e.value)}\n[dim]{points(e.low)}..{points(e.high)}[/]"

    def by(e: Estimate | None) -> str:
        return f"{signed(e.value)}\n[dim]{signed(e.low)}..{signed(e.high)}[/]" if e else ""

    def alone(share: float | None) -> str:
        return "" if share is None else points(share)

    table = Table(
        title=f"{c.arm}: {c.base} and {c.boot} on {c.n_images} held-out images", box=None, padding=(0, 0, 0, 1)
    )
    table.add_column("type", no_wrap=True)
    for name in ("n", "most\nfreq.", "base", "boot-\nstrapped", "gain", "shuf-\nfled", "margin\ngain"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (*c.rows, c.macro, c.overall):
        shuffled = f"{alone(row.base_shuffled)}\n{alone(row.boot_shuffled)}"
        table.add_row(
            escape(row.question_type), str(row.n), alone(row.majority), at(row.base_accuracy),
            at(row.boot_accuracy), by(row.accuracy_gain), shuffled, by(row.margin_gain),
        )  # fmt: skip
    screen.console().print(table, soft_wrap=False)


def say_verdict(record: Round) -> None:
    """Whether the candidate is promoted, and why."""
    outcome = "promoted when the next round begins" if record.verdict.promoted else "NOT promoted"
    champion = {"base": "the base", "champion": "the champion"}[record.against]
    screen.say(f"round {record.number}: the candidate is {outcome}; against {champion}:")
    for reason in record.verdict.reasons:
        screen.say(f"  {reason}")


def say_times(seconds: Mapping[str, float], wall: float) -> None:
    """Wall seconds of the stages, and what orchestration took of them; kept for `ouro estimate --measured`."""
    work = sum(work_seconds().values())
    stages = ", ".join(f"{stage} {s:.0f} s" for stage, s in seconds.items())
    screen.say(f"time: {wall:.0f} s in all ({stages}); of it {wall - work:.0f} s orchestration and process start")
    LAST_ROUND.parent.mkdir(exist_ok=True)
    LAST_ROUND.write_text(json.dumps({"wall": wall, "stages": dict(seconds), "work": work_seconds()}, indent=2))
