"""`ouro`: the command line. Heavy modules are imported inside the commands, so that --help is instant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.ablate import register as register_ablate
from cli.benchmarks import register as register_benchmarks
from cli.rounds import register as register_rounds

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
  ouro inspect out/photos               look at what came of it
  ouro train out/photos                 train an adapter on it
  ouro export out/photos --format llava --out out/llava
  ouro estimate --profile paper --images 1400000   say what that would cost
  ouro benchmark --benchmarks docvqa,gqa --out runs/base   ask and score any of 20 benchmarks
  ouro compare runs/base runs/boot      what was gained, with intervals
  ouro doctor                           check this machine
Each command has its own --help with examples. Run ouro from its checkout.""",
)

Backend = Literal["hf", "openai"]
ExportFormat = Literal["ms-swift", "llava", "sharegpt", "trl", "webdataset"]
ExportImages = Literal["copy", "link", "reference"]
RunnerKind = Literal["local", "threads", "ray"]
Dtype = Literal["float32", "bfloat16"]
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


@app.command()
def annotate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of images, searched with its subfolders; a manifest (.csv, .jsonl); or a Hugging Face "
            "dataset: hf:NAME[@SPLIT], or a folder that Dataset.save_to_disk wrote.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the dataset and the report go; made if missing.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The annotator: a Hugging Face folder, or with --backend openai its name."),
    ] = None,
    backend: Annotated[Backend | None, typer.Option(help="Who runs the model: this machine (hf), or a server.")] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="That server: any OpenAI-compatible one (vLLM, SGLang, ...).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, metavar="N", help="Only the first N files (0: all).")] = None,
    shards: Annotated[
        str,
        typer.Option(metavar="I/N", help="Annotate every N-th shard, from number I: 0/4, 1/4, 2/4, 3/4 make a whole."),
    ] = "0/1",
    runner: Annotated[RunnerKind | None, typer.Option(help="How shards run; never changes a result.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, metavar="N", help="Shards at once, with threads or ray.")
    ] = None,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Annotate your own images: regions, descriptions, scenes, questions, a summary and a report.

    Everything is written below --out; params.yaml stays as it is. Run it again to go on after an interruption. Several
    processes, also of machines that share the folder, may work on one --out: give each its --shards. The first one
    reads the images in, the others wait for that; whichever ends last writes the report.

    \b
    Examples:
      ouro annotate photos --out out/photos
      ouro annotate photos --out out/photos --model models/Qwen2-VL-7B-Instruct --profile paper
      ouro annotate pages.csv --out out/pages --limit 100 --set propose.max_depth=2
      ouro annotate hf:lmms-lab/flickr30k@test --out out/flickr --profile paper
      ouro annotate photos --out out/photos --profile paper \\
        --backend openai --url http://127.0.0.1:8000/v1 --model Qwen/Qwen2-VL-7B-Instruct --runner threads --workers 4
      ouro annotate photos --out /shared/photos --shards 0/2    here, and on another machine:
      ouro annotate photos --out /shared/photos --shards 1/2
    """
    from flows.annotate import run
    from flows.runner import parse_share
    from ouro.core.params import load_params
    from tasks.settings import Asked, params_file, pointed_at

    asked = Asked(source, model, backend, url, limit, runner, workers)
    share = parse_share(shards)
    run(pointed_at(load_params(params_file(params, profile), tuple(set_ or [])), asked), out, share)


@app.command()
def train(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `ouro annotate --out` wrote, or data.")],
    out: Annotated[Path | None, typer.Option(help="Where the adapter goes; by default DIR/adapter.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The base that learns; by default model.base of the params.")
    ] = None,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Whether MLflow gets the losses.")] = True,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Train a LoRA adapter on annotated images: full image + k regions, description and questions (eq. 6, 7).

    Steps and losses go to the screen, to MLflow and to Prefect. A run that was killed goes on from its last
    checkpoint; a finished one is restored. Several processes: train.processes; DeepSpeed: train.deepspeed.

    \b
    Examples:
      ouro train out/photos
      ouro train out/photos --out out/adapter --set train.k=3 --set train.selection=informative
      ouro train data --profile paper --model models/Qwen2-VL-7B-Instruct --set train.deepspeed=zero2
      ouro train out/photos --no-track
    """
    from flows.train_folder import run
    from ouro.core.params import load_params
    from tasks.settings import params_file

    wanted = load_params(params_file(params, profile), tuple(set_ or []))
    if model is not None:
        wanted = wanted.model_copy(update={"model": wanted.model.model_copy(update={"base": model})})
    run(folder, out or folder / "adapter", wanted, track)


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `ouro annotate --out` wrote, or data.")],
    out: Annotated[Path | None, typer.Option(help="Where the gallery goes; by default DIR/gallery.")] = None,
    round_: Annotated[
        str | None, typer.Option("--round", metavar="NAME", help="What to call this dataset in the statistics.")
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="statistics.json of an earlier round, to compare. May be repeated."),
    ] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log the statistics to MLflow, too.")] = False,
) -> None:
    """Make a gallery of a dataset, to be opened in a browser without a server, and its statistics.

    \b
    Examples:
      ouro inspect out/photos
      ouro inspect data --out report/gallery --mlflow
      ouro inspect out/second --round second --earlier out/first/gallery/statistics.json
    """
    from cli.inspect_ import run

    run(folder, out, round_, earlier or [], mlflow)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `ouro annotate --out` wrote, or data.")],
    format_: Annotated[ExportFormat, typer.Option("--format", help="The form that your trainer reads.")],
    out: Annotated[Path, typer.Option(help="Where it goes; made if missing.")],
    images: Annotated[ExportImages, typer.Option(help="How the pictures get there.")] = "copy",
    contents: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="description, questions, regions, grounding: what goes in. May be repeated."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What asks for the description; by default the usual words.")
    ] = None,
) -> None:
    """Write a dataset in the form of another trainer, and say how to point that trainer at it.

    \b
    Examples:
      ouro export out/photos --format ms-swift --out out/swift
      ouro export out/photos --format webdataset --out out/tars
      ouro export data --format trl --out out/trl --images link
      ouro export out/photos --format llava --out out/llava --contents description --contents questions
    """
    from cli.export import run
    from ouro.export.conversations import CONTENTS, PROMPT

    run(folder, out, format_, images, contents or CONTENTS, PROMPT if prompt is None else prompt)


@app.command(name="merge-adapter")
def merge_adapter(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="What the stage train wrote.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the model goes; a new folder.")],
    base: Annotated[
        str | None, typer.Option(metavar="NAME", help="The adapter's base, where it lies; by default where it lay.")
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="Of the stored weights: exact, or half as large.")] = "float32",
) -> None:
    """Merge a trained adapter into its base: a plain Hugging Face folder, for any server or trainer.

    \b
    Examples:
      ouro merge-adapter models/adapter --out models/second
      ouro merge-adapter models/adapter --out models/second --dtype bfloat16
      ouro merge-adapter runs/adapter --out runs/merged --base models/Qwen2-VL-7B-Instruct
    """
    from cli.merge_adapter import run

    run(adapter, out, base, dtype)


@app.command(name="train-job")
def train_job(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the job goes (JSON).")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the adapter goes; by default the pipeline's place.")
    ] = None,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Write the training on data/ as a job, to start it with torchrun or DeepSpeed's launcher on several machines.

    On one machine `train.processes` needs no launcher. See docs/training.md.

    \b
    Examples:
      ouro train-job job.json
      ouro train-job /shared/job.json --out /shared/adapter --profile paper --set train.deepspeed=zero3
    """
    from cli.train_job import run
    from ouro.core.params import load_params
    from tasks.settings import params_file

    run(load_params(params_file(params, profile), tuple(set_ or [])), file, out)


@app.command()
def estimate(
    images: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many images; by default those of --like, or of nano.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Their typical size in pixels.", show_default="1024x768")
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Another assumption, e.g. regions=40. May be repeated."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Measure the assumptions on what `ouro annotate --out` wrote, or data."),
    ] = None,
    gpu: Annotated[
        str, typer.Option(metavar="NAME", help="h100, h100-pcie, h200, b200, a100, a100-40, l40s, l4, a10, mi300x.")
    ] = "h100",
    gpus: Annotated[int, typer.Option(min=1, metavar="N", help="How many work side by side, for the days.")] = 8,
    mfu_train: Annotated[float, typer.Option(metavar="SHARE", help="Of the peak FLOP/s that training reaches.")] = 0.45,
    mfu_prefill: Annotated[float, typer.Option(metavar="SHARE", help="And that reading prompts reaches.")] = 0.5,
    measured: Annotated[
        bool, typer.Option("--measured", help="Scale the seconds of the last `ouro bootstrap` here instead.")
    ] = False,
    price: Annotated[float | None, typer.Option(min=0, metavar="X", help="Of one GPU for an hour.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    set_: Set = None,
    params: ParamsFile = None,
    profile: Profile = None,
) -> None:
    """Say what a round would cost: calls, tokens, FLOPs and GPU-hours by stage, with the formulas. Runs no model.

    What the params do not say is assumed, and every assumption is printed with its source. docs/estimate.md explains.

    \b
    Examples:
      ouro estimate --profile paper --images 1400000
      ouro estimate --profile paper --images 50000 --gpu a100 --gpus 4 --price 1.5 --size 640x480
      ouro estimate --profile paper --images 1400000 --assume regions=40 --set train.packing=separate
      ouro estimate --profile paper --images 1400000 --like out/photos
      ouro estimate --images 4000 --measured
    """
    from cli.estimate import Options, run
    from ouro.core.params import load_params
    from tasks.settings import params_file

    options = Options(
        images, size, tuple(assume or []), like, gpu, gpus, mfu_train, mfu_prefill, measured, price, json_
    )
    run(load_params(params_file(params, profile), tuple(set_ or [])), options)


@app.command()
def doctor() -> None:
    """Check this machine and say per finding how to mend it. Exit code 1 when something needed is missing.

    \b
    Examples:
      ouro doctor
    """
    from cli.doctor import run

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


register_benchmarks(app)
register_rounds(app)
register_ablate(app)


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
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()
