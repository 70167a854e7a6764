"""`ouro rounds`, `ouro rounds show`, `ouro rounds diff`: what every round was and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson

if TYPE_CHECKING:
    from rich.table import Table

    from ouro.rounds.ledger import Round

rounds = typer.Typer(
    name="rounds",
    invoke_without_command=True,
    rich_markup_mode=None,
    help="""The rounds that have ended: who annotated, what came of it, scores with 95% intervals, verdict, commit.

\b
Examples:
  ouro rounds
  ouro rounds --json
  ouro rounds --csv rounds.csv
  ouro rounds show 2
  ouro rounds diff 1 2""",
)

FIGURES = ["name", "base", "candidate", "over_base", "over_champion"]  # columns of ouro.rounds.tables.gains
NONE = "no round has ended here; run: ouro bootstrap"
Number = Annotated[int, typer.Argument(min=1, metavar="N", help="A round's number.")]


@rounds.callback()
def all_rounds(
    context: typer.Context,
    json_: AsJson = False,
    csv: Annotated[str, typer.Option(metavar="FILE", help="Write every comparison as CSV; - prints it.")] = "",
) -> None:
    if context.invoked_subcommand is None:
        write_csv(csv) if csv else show_all(json_)


@rounds.command()
def show(number: Number, json_: AsJson = False) -> None:
    """Everything that is kept of one round.

    \b
    Examples:
      ouro rounds show 2
      ouro rounds show 2 --json
    """
    show_one(number, json_)


@rounds.command()
def diff(first: Number, second: Number) -> None:
    """Two rounds side by side, and which of their data differs.

    \b
    Examples:
      ouro rounds diff 1 2
    """
    show_difference(first, second)


def write_csv(file: str) -> None:
    """Every comparison of every round as CSV. Raises LedgerError."""
    from ouro.rounds.tables import rounds_table
    from tasks import screen

    screen.write_csv(rounds_table(), file)


def show_all(as_json: bool) -> None:
    """One line a round, the first one first. Raises LedgerError for a damaged file."""
    import json

    from ouro.rounds.ledger import read_rounds
    from tasks import screen

    finished = read_rounds()
    if as_json:
        print(json.dumps([_json(one) for one in finished], indent=1))
    elif not finished:
        screen.say(NONE)
    else:
        screen.print_table(_table(finished))


def show_one(number: int, as_json: bool) -> None:
    """Everything that is kept of a round. Raises LedgerError."""
    import json

    from ouro.rounds.gate import format_measured
    from ouro.rounds.ledger import read_round
    from tasks import screen
    from tasks.versioning import commit_of

    one = read_round(number)
    if as_json:
        print(json.dumps(_json(one), indent=1))
        return
    facts = {
        "annotated by": one.annotator, "trained from": f"the {one.trained_from}",
        **{f"{name}": str(n) for name, n in one.counts.items()}, "words a description": f"{one.words:.1f}",
        "candidate": one.candidate[:12], "verdict": _verdict(one), "commit": commit_of(one.tag) or "not committed",
        "MLflow run": one.run or "none",
    }  # fmt: skip
    screen.say(f"round {one.number}")
    for name, value in facts.items():
        screen.say(f"  {name}: {value}")
    screen.say(f"  against the {one.against}:")
    for reason in one.verdict.reasons:
        screen.say(f"    {reason}")
    screen.say("  all that was measured:")
    for m in one.measured:
        screen.say(f"    {m.name}, over the {m.models[0]}: {format_measured(m)}")
    screen.say("  seconds: " + ", ".join(f"{stage} {s:.0f}" for stage, s in one.seconds.items()))
    for path, digest in one.data.items():
        screen.say(f"  {path.removeprefix('data.')}: {digest}")


def show_difference(first: int, second: int) -> None:
    """Two rounds side by side; the data that differs between them. Raises LedgerError."""
    from ouro.rounds.ledger import read_round
    from tasks import screen
    from tasks.versioning import commit_of

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
    screen.print_table(table)
    screen.say(f"same data: {', '.join(same) or 'none'}")
    screen.say(f"other data: {', '.join(changed) or 'none'}")


def _scores(a: Round, b: Round) -> list[tuple[str, str, str]]:
    """The candidates' figures, each with its own gain over the base and interval: not a paired difference."""
    from ouro.rounds.gate import format_measured

    left, right = ({m.name: m for m in one.scores()} for one in (a, b))
    names = dict.fromkeys([*left, *right])
    return [
        (n, format_measured(left[n]) if n in left else "-", format_measured(right[n]) if n in right else "-")
        for n in names
    ]


def _table(finished: Sequence[Round]) -> Table:
    """One line a round and benchmark; what is of the round stands in its first line."""
    from ouro.rounds.tables import gains, rounds_table
    from tasks.versioning import commit_of

    comparisons = gains(rounds_table(finished)).reset_index()
    table = _columns(
        ["round", "annotated by", "images", "regions", "words", "pairs", "benchmark", "base", "candidate",
         "gain over the base", "gain over the champion", "verdict", "commit", "MLflow run"]
    )  # fmt: skip
    for one in finished:
        counts = {**{name: str(n) for name, n in one.counts.items()}, "words": f"{one.words:.1f}"}
        of_round = [counts.get(name, "") for name in ("images", "regions", "words", "pairs")]
        first = (str(one.number), one.annotator.rpartition("/")[2], *of_round)
        last = (_verdict(one), commit_of(one.tag) or "-", one.run[:8] or "-")
        for figures in comparisons.loc[comparisons["round"] == one.number, FIGURES].itertuples(index=False):
            _add(table, (*first, *figures, *last))
            first, last = ("",) * len(first), ("",) * len(last)
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


def _verdict(one: Round) -> str:
    return "promoted" if one.verdict.promoted else "refused"


def _short(name: str) -> str:
    return name.removeprefix("data.").removeprefix("data/")


def _json(one: Round) -> dict[str, object]:
    from tasks.versioning import commit_of

    return {**one.to_json(), "commit": commit_of(one.tag)}
