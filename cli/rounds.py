"""The commands about rounds: rounds, rounds show, rounds diff, up. Registered by cli.app."""

from __future__ import annotations

from typing import Annotated

import typer

rounds = typer.Typer(
    name="rounds",
    invoke_without_command=True,
    rich_markup_mode=None,
    help="""The rounds that have ended: who annotated, what came of it, scores with 95% intervals, verdict, commit.

\b
Examples:
  ouro rounds
  ouro rounds --json
  ouro rounds show 2
  ouro rounds diff 1 2""",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[int, typer.Argument(min=1, metavar="N", help="A round's number.")]


@rounds.callback()
def all_rounds(
    context: typer.Context,
    json_: Json = False,
    csv: Annotated[str, typer.Option(metavar="FILE", help="Write every comparison as CSV; - prints it.")] = "",
) -> None:
    if context.invoked_subcommand is None:
        from cli.rounds_view import show_all, write_csv

        write_csv(csv) if csv else show_all(json_)


@rounds.command()
def show(number: Number, json_: Json = False) -> None:
    """Everything that is kept of one round.

    \b
    Examples:
      ouro rounds show 2
      ouro rounds show 2 --json
    """
    from cli.rounds_view import show_one

    show_one(number, json_)


@rounds.command()
def diff(first: Number, second: Number) -> None:
    """Two rounds side by side, and which of their data differs.

    \b
    Examples:
      ouro rounds diff 1 2
    """
    from cli.rounds_view import show_difference

    show_difference(first, second)


def up(
    interval: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="A round every so often, for trying it.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Another time than prefect.yaml's, in cron's words, UTC.")
    ] = None,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="If free, else the next.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="If free, else the next.")] = 5000,
) -> None:
    """Run the nightly rounds: Prefect's server, MLflow's, and the worker, on this machine, until Ctrl-C.

    A round begins when prefect.yaml says, goes on where the last one was stopped, and never runs twice at a time.
    docs/nightly.md has the rest: systemd, Postgres, logs, crashes.

    \b
    Examples:
      ouro up
      ouro up --cron "30 1 * * 1-5"
      ouro up --interval 60
    """
    from cli.up import Options, run

    run(Options(interval, cron, prefect_port, mlflow_port))


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.add_typer(rounds)
    app.command()(up)
