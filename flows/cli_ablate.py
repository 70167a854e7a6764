"""The command `ouro ablate`. Registered by flows.cli."""

from __future__ import annotations

from typing import Annotated

import typer


def ablate(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="k, annotations, or a name for --set.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUES", help="One axis of the grid: values with commas. May be repeated."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Trainings an arm.")] = 3,
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A param that every arm has, e.g. train.epochs=4. May be repeated."),
    ] = None,
) -> None:
    """Compare settings: a grid over params, several seeds an arm, beside the paper's Table 5 (k) or 6 (annotations).

    Arms train on what the last `ouro bootstrap` annotated; arms of other annotation params annotate anew, from the
    cache what is the same. A stage of DVC an arm and seed: what is up to date is not run again, and a killed ablation
    goes on. docs/ablations.md explains the numbers.

    \b
    Examples:
      ouro ablate k
      ouro ablate annotations --seeds 5
      ouro ablate --set train.k=0,5 --set train.selection=random,informative --seeds 3
      ouro ablate ranks --set train.rank=4,8,16 --fix train.epochs=6
    """
    from flows.ablate import run

    run(name, set_ or [], seeds, fix or [])


def register(app: typer.Typer) -> None:
    """Add it to the command line."""
    app.command()(ablate)
