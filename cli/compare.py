"""`ouro compare`: two or more runs of benchmarks on the same questions, paired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import Form

if TYPE_CHECKING:
    from rich.table import Table

    from ouro.benchmarks.comparison import Comparison
    from ouro.benchmarks.intervals import Difference, Estimate

Row = tuple[str, str, str, str, str, str, str]
HEADS = ("benchmark", "figure", "n", "first", "second", "difference", "p")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of `ouro benchmark`: first, others.")],
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = "table",
    kinds: Annotated[bool, typer.Option(help="Differences by kind of question, too.")] = True,
    track: Annotated[bool, typer.Option(help="Log the differences to MLflow.")] = False,
    csv: Annotated[str, typer.Option(metavar="FILE", help="Write all differences as CSV; - prints it.")] = "",
) -> None:
    """Compare runs on the same questions: paired difference, 95% interval and p, by benchmark and kind.

    \b
    Examples:
      ouro compare runs/base runs/boot
      ouro compare runs/base runs/boot runs/second --format markdown --no-kinds
      ouro compare runs/base runs/boot --csv gains.csv
    """
    run(runs, form, kinds, track, csv)


def run(
    folders: Sequence[Path], form: str, kinds: bool, track: bool, csv: str = "", seed: int = 0, resamples: int = 2000
) -> None:
    """Compare the first run with each of the others. Raises BenchmarkFileError for runs that cannot be paired.

    `csv`: a file for ouro.benchmarks.tables.comparison_table, or "-" to print it instead.
    """
    import json

    from ouro.benchmarks.comparison import compare_runs
    from ouro.benchmarks.items import BenchmarkFileError
    from ouro.benchmarks.run_folder import labels, read_run

    if len(folders) < 2:
        raise BenchmarkFileError(f"got {len(folders)} run, expected two or more: ouro compare FIRST SECOND ...")
    called = labels(folders)
    first = read_run(folders[0], called[0])
    everything: list[dict[str, Any]] = []
    for folder, label in zip(folders[1:], called[1:], strict=True):
        second = read_run(folder, label)
        compared = compare_runs(first, second, seed=seed, resamples=resamples)
        names = [called[0], label]
        everything.append({"first": names[0], "second": names[1], "benchmarks": [c.summary() for c in compared]})
        if form != "json" and csv != "-":
            _show(form, names, [row for c in compared for row in rows(c, kinds)])
        if track:
            _track(names, compared)
    if csv:
        from ouro.benchmarks.tables import comparison_table
        from tasks import screen

        screen.write_csv(comparison_table(everything), csv)
    if form == "json":
        print(json.dumps(everything, indent=1))


def rows(c: Comparison, kinds: bool) -> list[Row]:
    """The reported figure and the grounded margin, then the figure by kind."""
    total, points = c.reported, c.points

    def row(figure: str, gain: Difference, first: str, second: str) -> Row:
        return c.title, figure, str(gain.n), first, second, _gain(gain, points), f"{gain.p:.3f}"

    def format_value(estimate: Estimate) -> str:
        return f"{points * estimate.value:.1f}"

    out = [row(c.figure, total.accuracy_gain, format_value(total.base_accuracy), format_value(total.boot_accuracy))]
    if total.base_margin and total.boot_margin and total.margin_gain:
        out.append(
            row("grounded margin", total.margin_gain, format_value(total.base_margin), format_value(total.boot_margin))
        )
    if kinds and len(c.rows) > 1:
        out += [row(kind.question_type, kind.accuracy_gain, "", "") for kind in c.rows]
    return out


def _gain(d: Difference, points: float) -> str:
    return f"{points * d.value:+.1f} [{points * d.low:+.1f}, {points * d.high:+.1f}]"


def _show(form: str, names: Sequence[str], table: Sequence[Row]) -> None:
    title = f"first: {names[0]}; second: {names[1]}; difference: second - first, paired bootstrap over pictures, 95%"
    from ouro.core.printable import printable

    if form == "markdown":
        print(printable(markdown(title, table)))
        return
    from tasks import screen

    screen.print_table(_rich(title, table))


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

    printed = Table(title=escape(title), title_justify="left")
    for head in HEADS:
        printed.add_column(head, justify="left" if head in HEADS[:2] else "right", no_wrap=True)
    for row in table:
        printed.add_row(*map(escape, row))
    return printed


def _track(names: Sequence[str], compared: Sequence[Comparison]) -> None:
    from tasks import tracking

    with tracking.run("compare", {"first": names[0], "second": names[1]}) as run:
        for c in compared:
            gain, margin = c.reported.accuracy_gain, c.reported.margin_gain
            run.metrics({f"{c.benchmark}/{key}": value for key, value in gain.to_json().items()})
            if margin:
                run.metrics({f"{c.benchmark}/margin {key}": value for key, value in margin.to_json().items()})
