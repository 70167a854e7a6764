"""`ouro`: the command line, put together of one module a command.

The modules import typer alone; everything heavy is imported inside the commands, so that --help is instant.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from cli import (
    ablate,
    annotate,
    benchmark,
    bootstrap,
    compare,
    doctor,
    estimate,
    export,
    fetch,
    inspect_,
    merge_adapter,
    paper,
    push,
    report,
    review,
    rounds,
    score,
    train,
    train_job,
    up,
)
from cli.groups import GroupedHelp

app = typer.Typer(
    name="ouro",
    cls=GroupedHelp,
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
  ouro inspect out/photos               look at what came of it
  ouro train out/photos                 train an adapter on it
  ouro export out/photos --format llava --out out/llava
  ouro review out/photos --from project.json   take in what people corrected in Label Studio
  ouro push out/llava me/photos         send it to the Hugging Face Hub, with its card
  ouro estimate --profile paper --images 1400000   say what that would cost
  ouro benchmark --benchmarks docvqa,gqa --out runs/base   ask and score any of 20 benchmarks
  ouro compare runs/base runs/boot      what was gained, with intervals
  ouro doctor                           check this machine
  ouro fetch --profile paper            bring the models that a profile names
Each command has its own --help with examples. Run ouro from its checkout.""",
)

ROUNDS, DATA, TRAINING, BENCHMARKS, MACHINE = "Rounds", "Data", "Training", "Benchmarks", "Machine"

app.command(rich_help_panel=ROUNDS)(bootstrap.bootstrap)
app.add_typer(rounds.rounds, rich_help_panel=ROUNDS)
app.command(rich_help_panel=ROUNDS)(report.report)
app.command(rich_help_panel=ROUNDS)(ablate.ablate)
app.command(rich_help_panel=ROUNDS)(up.up)

app.command(rich_help_panel=DATA)(annotate.annotate)
app.command(rich_help_panel=DATA)(inspect_.inspect)
app.command(rich_help_panel=DATA)(export.export)
app.command(rich_help_panel=DATA)(review.review)
app.command(rich_help_panel=DATA)(push.push)

app.command(rich_help_panel=TRAINING)(train.train)
app.command(name="train-job", rich_help_panel=TRAINING)(train_job.train_job)
app.command(name="merge-adapter", rich_help_panel=TRAINING)(merge_adapter.merge_adapter)

app.command(rich_help_panel=BENCHMARKS)(benchmark.benchmark)
app.command(rich_help_panel=BENCHMARKS)(score.score)
app.command(rich_help_panel=BENCHMARKS)(compare.compare)
app.command(rich_help_panel=BENCHMARKS)(paper.paper)

app.command(rich_help_panel=MACHINE)(doctor.doctor)
app.command(rich_help_panel=MACHINE)(fetch.fetch)
app.command(rich_help_panel=MACHINE)(estimate.estimate)


def guarded(command: Callable[[], object]) -> int:
    """Run a command; an error of ours becomes one message and exit code 2, never a traceback."""
    try:
        command()
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        from tasks.errors import explain

        return explain(error)
    return 0


def main() -> None:
    """The console script `ouro`."""
    from ouro.core.proxy import spare_loopback

    spare_loopback()
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()
