"""What a round looks like on the screen: its tables, and where the time went."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ouro.core.state import CHECKOUT
from tasks import screen
from tasks.timing import work_seconds

if TYPE_CHECKING:
    from ouro.benchmarks.intervals import Estimate
    from ouro.benchmarks.summary import Comparison
    from ouro.rounds.ledger import Round


def show(c: Comparison) -> None:
    """The table of one arm, in percentage points; in brackets 95% intervals over images."""
    from rich.markup import escape
    from rich.table import Table

    from ouro.pages.report import points, signed

    def at(e: Estimate) -> str:
        return f"{points(e.value)}\n[dim]{points(e.low)}..{points(e.high)}[/]"

    def by(e: Estimate) -> str:
        return f"{signed(e.value)}\n[dim]{signed(e.low)}..{signed(e.high)}[/]"

    table = Table(
        title=f"{c.arm}: {c.base} and {c.boot} on {c.n_images} held-out images", box=None, padding=(0, 0, 0, 1)
    )
    table.add_column("type", no_wrap=True)
    for name in ("n", "most\nfreq.", "base", "boot-\nstrapped", "gain", "shuf-\nfled", "margin\ngain"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (*c.rows, c.macro, c.overall):
        shuffled = f"{points(row.base_shuffled)}\n{points(row.boot_shuffled)}"
        table.add_row(
            escape(row.question_type), str(row.n), points(row.majority), at(row.base_accuracy),
            at(row.boot_accuracy), by(row.accuracy_gain), shuffled, by(row.margin_gain),
        )  # fmt: skip
    screen.console().print(table, soft_wrap=False)


def say_verdict(made: Round) -> None:
    """Whether the candidate is promoted, and why."""
    said = "promoted when the next round begins" if made.verdict.promoted else "NOT promoted"
    champion = {"base": "the base", "champion": "the champion"}[made.against]
    screen.say(f"round {made.number}: the candidate is {said}; against {champion}:")
    for reason in made.verdict.reasons:
        screen.say(f"  {reason}")


def say_times(seconds: dict[str, float], wall: float) -> None:
    """Wall seconds of the stages, and what orchestration took of them; kept for `ouro estimate --measured`."""
    work = sum(work_seconds().values())
    stages = ", ".join(f"{stage} {s:.0f} s" for stage, s in seconds.items())
    screen.say(f"time: {wall:.0f} s in all ({stages}); of it {wall - work:.0f} s orchestration and process start")
    CHECKOUT.folder.mkdir(exist_ok=True)
    CHECKOUT.last_round.write_text(json.dumps({"wall": wall, "stages": seconds, "work": work_seconds()}, indent=2))
