"""`ouro compare`: two or more runs of benchmarks on the same questions, paired."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import screen

if TYPE_CHECKING:
    from rich.table import Table

    from ouro.benchmarks.ratios import Difference
    from ouro.benchmarks.run_folder import Compared

Row = tuple[str, str, str, str, str, str, str]
HEADS = ("benchmark", "figure", "n", "first", "second", "difference", "p")


def run(
    folders: Sequence[Path], form: str, kinds: bool, track: bool, csv: str = "", seed: int = 0, resamples: int = 2000
) -> None:
    """Compare the first run with each of the others. Raises BenchmarkFileError for runs that cannot be paired.

    `csv`: a file for ouro.benchmarks.tables.comparison_table, or "-" to print it instead.
    """
    from ouro.benchmarks.items import BenchmarkFileError
    from ouro.benchmarks.run_folder import compare_runs, labels, read_run

    if len(folders) < 2:
        raise BenchmarkFileError(f"got {len(folders)} run, expected two or more: ouro compare FIRST SECOND ...")
    called = labels(folders)
    first = read_run(folders[0], called[0])
    everything: list[dict[str, Any]] = []
    for folder, label in zip(folders[1:], called[1:], strict=True):
        second = read_run(folder, label)
        made = compare_runs(first, second, seed=seed, resamples=resamples)
        names = [called[0], label]
        everything.append({"first": names[0], "second": names[1], "benchmarks": [c.to_json() for c in made]})
        if form != "json" and csv != "-":
            _show(form, names, [row for c in made for row in rows(c, kinds)])
        if track:
            _track(names, made)
    if csv:
        from ouro.benchmarks.tables import comparison_table

        screen.write_csv(comparison_table(everything), csv)
    if form == "json":
        print(json.dumps(everything, indent=1))


def rows(c: Compared, kinds: bool) -> list[Row]:
    """The reported figure, then by kind."""
    points = c.points
    total = c.reported
    out: list[Row] = [
        (c.title, c.figure, str(total.n), f"{points * c.first:.1f}", f"{points * c.second:.1f}", _gain(total, points),
         f"{total.p:.3f}")
    ]  # fmt: skip
    if kinds and len(c.gains.kinds) > 1:
        out += [(c.title, kind, str(g.n), "", "", _gain(g, points), f"{g.p:.3f}") for kind, g in c.gains.kinds.items()]
    return out


def _gain(d: Difference, points: float) -> str:
    return f"{points * d.value:+.1f} [{points * d.low:+.1f}, {points * d.high:+.1f}]"


def _show(form: str, names: Sequence[str], table: Sequence[Row]) -> None:
    title = f"first: {names[0]}; second: {names[1]}; difference: second - first, paired bootstrap over pictures, 95%"
    if form == "markdown":
        print(markdown(title, table))
        return
    show_whole(_rich(title, table))


def show_whole(shown: Table) -> None:
    """A table as wide as its figures, however narrow the screen: a figure that is cut is another figure."""
    from rich.measure import Measurement

    console = screen.console()
    shown.width = Measurement.get(console, console.options.update(max_width=10_000), shown).maximum
    console.print(shown)


def markdown(title: str, table: Sequence[Row]) -> str:
    """A Markdown table; what files and models are called is escaped."""
    lines = [escaped(title), "", f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(escaped, row))} |" for row in table)])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\`*_{}[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")


def _rich(title: str, table: Sequence[Row]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    made = Table(title=escape(title), title_justify="left")
    for head in HEADS:
        made.add_column(head, justify="left" if head in HEADS[:2] else "right", no_wrap=True)
    for row in table:
        made.add_row(*map(escape, row))
    return made


def _track(names: Sequence[str], made: Sequence[Compared]) -> None:
    from tasks import tracking

    with tracking.run("compare", {"first": names[0], "second": names[1]}) as run:
        for c in made:
            d = c.reported
            run.metrics({f"{c.benchmark}/{key}": value for key, value in d.to_json().items()})
