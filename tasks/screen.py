"""Terminal output: progress with rate and remaining time, warnings in one line, counts as a table.

On a terminal a live bar; elsewhere (a log file, CI) one line now and then.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ouro.core.printable import printable, shorten

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console
    from rich.table import Table

    from ouro.core.artifacts import Sidecar

Advance = Callable[[int], None]
LINE_SECONDS = 15.0
RATE_SECONDS = 180.0  # the rate is that of the last minutes: shards restored at once say nothing of those to come


@lru_cache(maxsize=2)
def console(stderr: bool = False) -> Console:
    """Where everything is printed: texts with their control characters escaped, in tables and lists too."""
    from rich.console import Console
    from rich.text import Text

    class PrintableConsole(Console):
        def render_str(self, text: str, *args: Any, **kwargs: Any) -> Text:
            return super().render_str(printable(text), *args, **kwargs)

    return PrintableConsole(highlight=False, soft_wrap=True, stderr=stderr)


def write_csv(table: DataFrame, file: str) -> None:
    """Write a table as CSV, atomically; "-" prints it."""
    from ouro.core.files import write_text

    text = table.to_csv(index=False)
    if file != "-":
        write_text(Path(file), text)
    else:
        print(printable(text) if sys.stdout.isatty() else text, end="")


@contextmanager
def progress(stage: str, total: int, unit: str) -> Generator[Advance]:
    """A bar for `total` units of work (0: nobody knows how many); the yielded function, which any thread may call,
    moves it by n. Ends with the time taken.
    """
    start_time = time.monotonic()
    display = _bar(stage, total, unit) if console().is_terminal else _lines(stage, total, unit)
    n_done = 0
    lock = Lock()
    with display as advance:

        def count(n: int) -> None:
            nonlocal n_done
            with lock:
                n_done += n
                advance(n)

        yield count
    seconds = time.monotonic() - start_time
    console().print(f"{stage}: {n_done} {unit} in {seconds:.1f} s", markup=False)


@contextmanager
def waiting(stage: str, unit: str) -> Generator[Advance]:
    """Progress of work before the work, of no known size: a bar on a terminal, a line now and then elsewhere."""
    with _bar(stage, 0, unit) if console().is_terminal else _lines(stage, 0, unit) as advance:
        yield advance


@contextmanager
def steps(stage: str) -> Generator[Callable[[int, int], None]]:
    """Progress of a job that reports its own size: the yielded function takes (n_done, total)."""
    with ExitStack() as stack:
        bar: list[Advance] = []
        n_reported = 0

        def on_step(n_done: int, total: int) -> None:
            nonlocal n_reported
            if not bar:
                bar.append(stack.enter_context(progress(stage, total, "steps")))
            if n_done > n_reported:
                bar[0](n_done - n_reported)
                n_reported = n_done

        yield on_step


@contextmanager
def _bar(stage: str, total: int, unit: str) -> Generator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units a second."""

        def render(self, task: object) -> Text:
            speed: float | None = getattr(task, "speed", None)
            return Text("" if speed is None else f"{speed:.1f} {unit}/s")

    columns = (TextColumn(f"{stage:<10}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True, speed_estimate_period=RATE_SECONDS) as bar:
        task = bar.add_task(stage, total=total or None)
        yield lambda n: bar.update(task, advance=n)


@contextmanager
def _lines(stage: str, total: int, unit: str) -> Generator[Advance]:
    reports = deque([(time.monotonic(), 0)], maxlen=round(RATE_SECONDS / LINE_SECONDS))  # (time, count)
    n_done = 0

    def advance(n: int) -> None:
        nonlocal n_done
        n_done += n
        now = time.monotonic()
        if now - reports[-1][0] < LINE_SECONDS or 0 < total <= n_done:
            return
        then, earlier_count = reports[0]
        reports.append((now, n_done))
        amount = f"{n_done}/{total}" if total else str(n_done)
        console().print(
            f"{stage}: {amount} {unit}, {_pace((n_done - earlier_count) / (now - then), max(0, total - n_done))}"
        )

    yield advance


def _pace(rate: float, n_remaining: int) -> str:
    """Units a second (a minute where it is slow) and the time for the remaining units, as 1 day, 2:03:04."""
    rate_text = f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"
    return f"{rate_text}, {timedelta(seconds=round(n_remaining / rate))} left" if rate and n_remaining else rate_text


def say(text: str) -> None:
    """Print a plain line; markup in it is not interpreted."""
    console().print(text, markup=False)


def complain(text: str) -> None:
    """Print an error on stderr, at most 2,000 characters of it, without a traceback."""
    console(stderr=True).print(shorten(f"error: {printable(text)}"), markup=False, style="red")


def print_table(table: Table) -> None:
    """A table as wide as its figures, however narrow the screen: a figure that is cut is another figure."""
    from rich.measure import Measurement

    table.width = Measurement.get(console(), console().options.update(max_width=10_000), table).maximum
    console().print(table)


class _Notices(logging.Handler):
    """Warnings of ours, and Prefect's notices that a task failed and is retried: one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().splitlines()[0] if record.getMessage() else ""
        if record.levelno >= logging.WARNING or "Retry" in message:
            run = getattr(record, "task_run_name", "")
            say(f"{record.levelname.lower()}: {run + ': ' if run else ''}{message[:400]}")


def show_notices() -> None:
    """Put warnings and retries on the screen, once; call it after prefect has set up logging."""
    handler = _Notices()
    for name in ("ouro", "tasks", "flows", "cli", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(h, _Notices) for h in logger.handlers):
            logger.addHandler(handler)
    for name in ("ouro", "tasks", "flows", "cli"):
        logging.getLogger(name).setLevel(logging.INFO)


def count_rows(names: Sequence[str], sidecars: Sequence[Sidecar]) -> list[dict[str, str | int]]:
    """One row a shard: in, out, rejected by reason. For a Prefect table artifact."""
    return [
        {"shard": name, "in": s.n_in, "out": s.n_out, "rejected": _reasons(s.rejected)}
        for name, s in zip(names, sidecars, strict=True)
    ]


def count_line(stage: str, sidecars: Sequence[Sidecar]) -> str:
    """The counts of a whole stage in one line."""
    from ouro.core.control_tokens import META
    from ouro.core.counts import count_records

    count = count_records(stage, sidecars)
    rejected = sum(count.rejected.values())
    tokens = sum(sidecar.meta.get(META, 0) for sidecar in sidecars)
    removed = f"; {tokens} control tokens in texts removed or broken" if tokens else ""
    return f"{stage}: {count.n_in} in, {count.n_out} out, {rejected} rejected{_brackets(count.rejected)}{removed}"


def _reasons(rejected: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in sorted(rejected.items()))


def _brackets(rejected: Mapping[str, int]) -> str:
    return f" ({_reasons(rejected)})" if rejected else ""
