"""`ouro up`: the nightly rounds. Its servers and its worker are in tasks/up.py."""

from __future__ import annotations

from typing import Annotated

import typer


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
    from tasks.up import Options, run

    run(Options(interval, cron, prefect_port, mlflow_port))
