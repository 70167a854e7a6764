"""`ouro rounds`: what every round was and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ouro.rounds.gate import shown
from ouro.rounds.ledger import Round, read_round, read_rounds
from tasks import screen
from tasks.versioning import commit_of

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = ["name", "base", "candidate", "over_base", "over_champion"]  # of `gains`
NONE = "no round has ended here; run: ouro bootstrap"


def show_all(as_json: bool) -> None:
    """One line a round, the first one first. Raises LedgerError for a damaged file."""
    rounds = read_rounds()
    if as_json:
        print(json.dumps([_json(made) for made in rounds], indent=1))
    elif not rounds:
        screen.say(NONE)
    else:
        _print(_table(rounds))


def show_one(number: int, as_json: bool) -> None:
    """Everything that is kept of a round. Raises LedgerError."""
    made = read_round(number)
    if as_json:
        print(json.dumps(_json(made), indent=1))
        return
    facts = {
        "annotated by": made.annotator, "trained from": f"the {made.trained_from}",
        **{f"{name}": str(n) for name, n in made.counts.items()}, "words a description": f"{made.words:.1f}",
        "candidate": made.candidate[:12], "verdict": _verdict(made), "commit": commit_of(made.tag) or "not committed",
        "MLflow run": made.run or "none",
    }  # fmt: skip
    screen.say(f"round {made.number}")
    for name, value in facts.items():
        screen.say(f"  {name}: {value}")
    screen.say(f"  against the {made.against}:")
    for reason in made.verdict.reasons:
        screen.say(f"    {reason}")
    screen.say("  all that was measured:")
    for m in made.measured:
        screen.say(f"    {m.name}, over the {m.models[0]}: {shown(m)}")
    screen.say("  seconds: " + ", ".join(f"{stage} {s:.0f}" for stage, s in made.seconds.items()))
    for path, digest in made.data.items():
        screen.say(f"  {path.removeprefix('data.')}: {digest}")


def show_difference(first: int, second: int) -> None:
    """Two rounds side by side; the data that differs between them. Raises LedgerError."""
    a, b = read_round(first), read_round(second)
    rows = [
        ("annotated by", a.annotator, b.annotator),
        ("trained from", a.trained_from, b.trained_from),
        *((name, str(a.counts.get(name, "")), str(n)) for name, n in b.counts.items()),
        ("words a description", f"{a.words:.1f}", f"{b.words:.1f}"),
        *_scores(a, b),
        ("verdict", _verdict(a), _verdict(b)),
        ("commit", commit_of(a.tag) or "-", commit_of(b.tag) or "-"),
    ]
    names = sorted(a.data.keys() | b.data.keys())
    same = [_short(name) for name in names if a.data.get(name) == b.data.get(name)]
    changed = [_short(name) for name in names if a.data.get(name) != b.data.get(name)]
    table = _columns(["", f"round {first}", f"round {second}"])
    for row in rows:
        _add(table, row)
    _print(table)
    screen.say(f"same data: {', '.join(same) or 'none'}")
    screen.say(f"other data: {', '.join(changed) or 'none'}")


def _scores(a: Round, b: Round) -> list[tuple[str, str, str]]:
    """The candidates' figures, each with its own gain over the base and interval: not a paired difference."""
    own, other = ({m.name: m for m in made.scores()} for made in (a, b))
    names = dict.fromkeys([*own, *other])
    return [(n, shown(own[n]) if n in own else "-", shown(other[n]) if n in other else "-") for n in names]


def write_csv(file: str) -> None:
    """Raises LedgerError."""
    from ouro.rounds.tables import rounds_table

    screen.write_csv(rounds_table(), file)


def _table(rounds: Sequence[Round]) -> Table:
    """One line a round and benchmark; what is of the round stands in its first line."""
    from ouro.rounds.tables import gains, rounds_table

    compared = gains(rounds_table(rounds)).reset_index()
    table = _columns(
        ["round", "annotated by", "images", "regions", "words", "pairs", "benchmark", "base", "candidate",
         "gain over the base", "gain over the champion", "verdict", "commit", "MLflow run"]
    )  # fmt: skip
    for made in rounds:
        first = ("images", "regions", "words", "pairs")
        counts = {**{name: str(n) for name, n in made.counts.items()}, "words": f"{made.words:.1f}"}
        about = (str(made.number), made.annotator.rpartition("/")[2], *(counts.get(name, "") for name in first))
        end = (_verdict(made), commit_of(made.tag) or "-", made.run[:8] or "-")
        for figures in compared.loc[compared["round"] == made.number, FIGURES].itertuples(index=False):
            _add(table, (*about, *figures, *end))
            about, end = ("",) * len(about), ("",) * len(end)
    return table


def _columns(heads: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, no_wrap=True)
    return table


def _add(table: Table, row: Sequence[str]) -> None:
    from rich.markup import escape

    table.add_row(*map(escape, row))


def _print(table: Table) -> None:
    """As wide as its figures, however narrow the screen: a figure that is cut is another figure."""
    from rich.measure import Measurement

    console = screen.console()
    table.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    console.print(table, soft_wrap=True)


def _verdict(made: Round) -> str:
    return "promoted" if made.verdict.promoted else "refused"


def _short(name: str) -> str:
    return name.removeprefix("data.").removeprefix("data/")


def _json(made: Round) -> dict[str, object]:
    return {**made.to_json(), "commit": commit_of(made.tag)}
