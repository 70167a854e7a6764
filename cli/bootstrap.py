"""`ouro bootstrap`: whole rounds."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import ParamsFile, Profile, Set


def bootstrap(
    rounds: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="At most so many rounds.")] = 1,
    commit: Annotated[
        bool | None,
        typer.Option(
            "--commit/--no-commit", help="Commit and tag each round, dvc push if there is a remote.",
            show_default="bootstrap.commit",
        ),
    ] = None,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:  # fmt: skip
    """Run whole rounds: annotate, train, benchmark, judge; each ends with base against bootstrapped and a verdict.

    A round whose candidate passed the gate is followed by one that it annotates; docs/rounds.md explains. What is up to
    date is not run again, and a run that was killed goes on where it was. Params given here are written into
    params.yaml, after showing the difference, since DVC decides by that file what is up to date.

    \b
    Examples:
      ouro bootstrap
      ouro bootstrap --rounds 3
      ouro bootstrap --rounds 3 --commit
      ouro bootstrap --set seed=1
      ouro bootstrap --set train.k=0 --set train.epochs=6
      ouro bootstrap --profile paper
    """
    from flows.bootstrap import run

    run(params, profile, set_ or [], rounds, commit)
