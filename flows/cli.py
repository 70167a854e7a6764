"""`ouro`: the command line. Heavy modules are imported inside the commands, so that --help is instant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="ouro",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""A vision-language model that teaches itself to see detail: it takes images apart, describes the parts,
merges the descriptions, asks itself questions, and is fine-tuned on all of that.

\b
Examples:
  ouro bootstrap                        one round with the embedded nano world, on two cores
  ouro annotate photos --out out/photos annotate a folder of your own images
  ouro doctor                           check this machine
Each command has its own --help with examples. Run ouro from its checkout.""",
)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one param, e.g. train.k=3. May be repeated."),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", help="Read params from FILE instead of params.yaml."),
]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="Read params from profiles/NAME.yaml, e.g. paper.")]


@app.command()
def bootstrap(set_: Set = None, params: ParamsFile = None, profile: Profile = None) -> None:
    """Run a whole round: annotate, train, benchmark; ends with base against bootstrapped.

    What is up to date is not run again, and a run that was killed goes on where it was. Params given here are
    written into params.yaml, after showing the difference, since DVC decides by that file what is up to date.

    \b
    Examples:
      ouro bootstrap
      ouro bootstrap --set seed=1
      ouro bootstrap --set train.k=0 --set train.epochs=6
      ouro bootstrap --profile paper
    """
    from flows.bootstrap import run

    run(params, profile, set_ or [])


@app.command()
def annotate(
    folder: Annotated[Path, typer.Argument(help="The folder of your images; it is searched with its subfolders.")],
    out: Annotated[Path, typer.Option(help="Where the dataset and the report go; made if missing.")],
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The annotator: a Hugging Face model folder.")
    ] = None,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Annotate a folder of your own images: regions, descriptions, scenes, questions, and a report.

    Everything is written below --out; params.yaml stays as it is. Run it again to go on after an interruption.

    \b
    Examples:
      ouro annotate photos --out out/photos
      ouro annotate photos --out out/photos --model models/Qwen2-VL-7B-Instruct --profile paper
      ouro annotate photos --out out/photos --set propose.max_depth=2
    """
    from flows.annotate import run

    run(folder, out, model, params, profile, set_ or [])


@app.command()
def doctor() -> None:
    """Check this machine and say per finding how to mend it. Exit code 1 when something needed is missing.

    \b
    Examples:
      ouro doctor
    """
    from flows.doctor import run

    raise SystemExit(run())


@app.command()
def report() -> None:
    """Write report/index.html again from the results of the last round.

    \b
    Examples:
      ouro report
    """
    from flows.report import rebuild

    rebuild()


def guarded(command: Callable[[], object]) -> int:
    """Run a command; an error of ours becomes one message and exit code 2, never a traceback."""
    try:
        command()
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        from flows.errors import explain

        return explain(error)
    return 0


def main() -> None:
    """The console script `ouro`."""
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()
