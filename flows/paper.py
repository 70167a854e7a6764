"""`ouro paper`: the paper's tables, and beside them what was measured here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows import screen
from flows.compare import escaped

if TYPE_CHECKING:
    from rich.table import Table as Shown

    from ouro.benchmarks.paper import Table
    from ouro.benchmarks.run_folder import ScoredFolder

PAPER, HERE = "paper", "measured here"


def run(folders: Sequence[Path], form: str, numbers: Sequence[int]) -> None:
    """Print tables (all of them for an empty `numbers`). Raises BenchmarkFileError for a folder that is no run, and a
    table that the paper has not."""
    from ouro.benchmarks.items import BenchmarkFileError
    from ouro.benchmarks.paper import DOUBT, measured, tables
    from ouro.benchmarks.run_folder import read_run

    known = [table.number for table in tables()]
    if unknown := [n for n in numbers if n not in known]:
        raise BenchmarkFileError(f"table {unknown[0]}: expected one of {', '.join(map(str, known))}")
    runs = [read_run(folder) for folder in folders]
    chosen = [table for table in tables() if not numbers or table.number in numbers]
    if form == "json":
        print(json.dumps([_json(table, runs) for table in chosen], indent=1))
        return
    for table in chosen:
        rows = _rows(table, measured(table, runs))
        if form == "markdown":
            print(_markdown(table, rows), end="\n\n")
        else:
            screen.console().print(_rich(table, rows))
    screen.say(DOUBT)


def _rows(table: Table, here: Sequence[tuple[str, list[str]]]) -> list[list[str]]:
    rows = [[PAPER, row.model, *("" if f is None else f"{f:.1f}" for f in row.figures)] for row in table.rows]
    return rows + [[HERE, label, *texts] for label, texts in here]


def _json(table: Table, runs: Sequence[dict[str, ScoredFolder]]) -> dict[str, object]:
    here = [
        {"model": next(iter(run.values())).label, "scores": {n: run[n].scores for n in table.benchmarks if n in run}}
        for run in runs
    ]
    paper = [
        {"model": row.model, "figures": dict(zip(table.benchmarks, row.figures, strict=True))} for row in table.rows
    ]
    return {"table": table.number, "title": table.title, PAPER: paper, HERE: here}


def _markdown(table: Table, rows: Sequence[Sequence[str]]) -> str:
    heads = ["whose figures", "model", *table.heads()]
    lines = [f"**Table {table.number} of the paper: {escaped(table.title)}**", "", f"| {' | '.join(heads)} |"]
    lines.append("|---" * len(heads) + "|")
    return "\n".join([*lines, *(f"| {' | '.join(map(escaped, row))} |" for row in rows)])


def _rich(table: Table, rows: Sequence[Sequence[str]]) -> Shown:
    from rich.markup import escape
    from rich.table import Table as Shown

    made = Shown(title=f"Table {table.number} of the paper: {table.title}", title_justify="left")
    for number, head in enumerate(["whose figures", "model", *table.heads()]):
        made.add_column(head, justify="left" if number < 2 else "right")
    for row in rows:
        made.add_row(*map(escape, row), style="bold" if row[0] == HERE else "")
    return made
