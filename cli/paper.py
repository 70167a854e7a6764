"""`ouro paper`: the paper's tables, and beside them what was measured here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.compare import escaped
from cli.options import Form

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from ouro.benchmarks.paper import Measured, Table

    Here = Mapping[tuple[str, str], Measured]

PAPER, HERE = "paper", "measured here"


def paper(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUN...]", help="Folders of `ouro benchmark`.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How they are printed.")] = "table",
    table: Annotated[list[int] | None, typer.Option(metavar="N", help="Only table N. May be repeated.")] = None,
) -> None:
    """Print tables 1 to 6 of the paper, each figure the paper's own, with what was measured here in rows below.

    \b
    Examples:
      ouro paper
      ouro paper runs/base runs/boot --table 2
      ouro paper runs/base runs/boot --format markdown
    """
    run(runs or [], form, table or [])


def run(folders: Sequence[Path], form: Form, tables: Sequence[int]) -> None:
    """Print tables (all of them for an empty `tables`). Raises BenchmarkFileError for a folder that is no run, and a
    table that the paper has not."""
    import json

    from ouro.benchmarks import paper as tables_of_paper
    from ouro.benchmarks.items import BenchmarkFileError
    from ouro.core.printable import printable

    numbers = [table.number for table in tables_of_paper.tables()]
    if unknown := [n for n in tables if n not in numbers]:
        raise BenchmarkFileError(f"table {unknown[0]}: expected one of {', '.join(map(str, numbers))}")
    here = tables_of_paper.measured(folders)
    selection = [table for table in tables_of_paper.tables() if not tables or table.number in tables]
    if form == "json":
        print(json.dumps([_json(table, here) for table in selection], indent=1))
        return
    for table in selection:
        if form == "markdown":
            print(printable(_markdown(table, here)), end="\n\n")
        else:
            _show(table, here)


def _measured(table: Table, here: Here) -> Iterator[tuple[str, list[Measured | None]]]:
    """Of each run its label and what it has of a table's benchmarks; runs that have nothing of them are left out."""
    for label in dict.fromkeys(label for label, _ in here):
        figures = [here.get((label, name)) for name in table.benchmarks]
        if any(figures):
            yield label, figures


def _rows(table: Table, here: Here, between: str) -> list[list[str]]:
    rows = [[PAPER, row.model, *("" if f is None else f"{f:.1f}" for f in row.figures)] for row in table.rows]
    return rows + [
        [HERE, label, *(between.join(one.texts()) if one else "" for one in figures)]
        for label, figures in _measured(table, here)
    ]


def _json(table: Table, here: Here) -> dict[str, object]:
    """All figures in points."""
    theirs = [
        {"model": row.model, "role": row.role, "figures": dict(zip(table.benchmarks, row.figures, strict=True))}
        for row in table.rows
    ]
    ours = [
        {
            "model": label,
            "figures": {n: one and one.to_json() for n, one in zip(table.benchmarks, figures, strict=True)},
        }
        for label, figures in _measured(table, here)
    ]
    return {"table": table.number, "title": table.title, PAPER: theirs, HERE: ours, "note": table.note}


def _markdown(table: Table, here: Here) -> str:
    heads = ["whose figures", "model", *table.heads()]
    lines = [f"**Table {table.number} of the paper: {escaped(table.title)}**", "", f"| {' | '.join(heads)} |"]
    lines.append("|---" * len(heads) + "|")
    lines += [f"| {' | '.join(map(escaped, row))} |" for row in _rows(table, here, ", ")]
    return "\n".join([*lines, *(["", table.note] if table.note else [])])


def _show(table: Table, here: Here) -> None:
    from tasks import screen

    screen.print_table(_rich(table, here))
    if table.note:
        screen.say(table.note)


def _rich(table: Table, here: Here) -> RichTable:
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    title = f"Table {table.number} of the paper: {table.title}"
    rich_table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, head in enumerate(["whose figures", "model", *table.heads()]):
        rich_table.add_column(head, justify="left" if number < 2 else "right", no_wrap=True)
    for row in _rows(table, here, "\n"):
        rich_table.add_row(*map(escape, row), style="bold" if row[0] == HERE else "")
    return rich_table
