"""The commands about benchmarks: score, benchmark, compare, paper. Registered by cli.app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Form = Literal["table", "markdown", "json"]
Backend = Literal["hf", "openai"]


def score(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="Its name, e.g. docvqa; any other lists them.")],
    annotations: Annotated[
        list[Path],
        typer.Option("--annotations", metavar="PATH", help="Its official file, or their folder. May be repeated."),
    ],
    predictions: Annotated[
        Path, typer.Option(metavar="FILE", help='JSON Lines: {"question_id": ..., "prediction": "..."}.')
    ],
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="Another way to count, e.g. vqaeval, lenient, plain.")
    ] = "",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Questions without a prediction count as wrong.")
    ] = False,
    controls: Annotated[bool, typer.Option(help="Score the most frequent answer, too.")] = True,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Writes scores.json, samples.parquet.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score any model's predictions as the benchmark's official evaluator does.

    Ids of captions stand under image_id. Missing, unknown and repeated ids are errors. docs/benchmarks.md has the
    benchmarks, their files, protocols and ids.

    \b
    Examples:
      ouro score docvqa --annotations val_v1.0_withQT.json --predictions replies.jsonl
      ouro score vqav2 --annotations data/benchmarks/vqav2 --predictions replies.jsonl --protocol vqaeval
      ouro score textcaps --annotations TextCaps_0.1_val.json --predictions replies.jsonl --protocol plain --json
    """
    from cli.score import Options, run

    run(Options(benchmark, annotations, predictions, protocol, allow_missing, controls, out, json_))


def benchmark(
    benchmarks: Annotated[
        list[str], typer.Option("--benchmarks", metavar="LIST", help="Names with commas between; may be repeated.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where predictions and scores go.")],
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Holds a folder for each, named as it is: files and pictures.")
    ] = Path("data/benchmarks"),
    model: Annotated[str | None, typer.Option(metavar="NAME", help="By default model.base of the params.")] = None,
    adapter: Annotated[Path | None, typer.Option(metavar="DIR", help="A peft adapter that the model wears.")] = None,
    backend: Annotated[Backend | None, typer.Option(help="Who runs the model: this machine (hf), or a server.")] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="That server: any OpenAI-compatible one.")] = None,
    k: Annotated[int, typer.Option(min=0, metavar="K", help="Largest regions shown beside each picture.")] = 0,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="Only the first N questions of each (0: all).")] = 0,
    protocol: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PROTOCOL", help="Another way to count one of them.")
    ] = None,
    hub: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DATASET[@SPLIT]", help="A Hugging Face dataset, or its folder, instead of --data."),
    ] = None,
    controls: Annotated[bool, typer.Option(help="Also: most frequent answer, and other pictures (asks twice).")] = True,
    track: Annotated[bool, typer.Option(help="Log the scores to MLflow.")] = True,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one param.")] = None,
    params: Annotated[Path | None, typer.Option("--params", metavar="FILE", help="Instead of params.yaml.")] = None,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="Read params from profiles/NAME.yaml.")] = None,
) -> None:
    """Ask a model the questions of benchmarks and score its replies, with n and 95% intervals.

    Replies are kept by model, prompt and picture: a repeat asks nothing, a killed run goes on.

    \b
    Examples:
      ouro benchmark --benchmarks docvqa,chartqa --data data/benchmarks --out runs/base
      ouro benchmark --benchmarks docvqa --adapter models/adapter --k 5 --limit 500 --out runs/boot
      ouro benchmark --benchmarks gqa --backend openai --url http://127.0.0.1:8000/v1 \\
        --model Qwen/Qwen2-VL-7B-Instruct --profile paper --out runs/served
      ouro benchmark --benchmarks docvqa --hub docvqa=lmms-lab/DocVQA@validation --out runs/base
    """
    from cli.ask import Options, run
    from ouro.core.params import load_params
    from tasks.settings import Asked, params_file, pointed_at

    wanted = load_params(params_file(params, profile), tuple(set_ or []))
    wanted = pointed_at(wanted, Asked("nano", model, backend, url, None, None, None))
    names = [name.strip() for part in benchmarks for name in part.split(",") if name.strip()]
    options = Options(
        names, data, out, k, limit, _pairs("--protocol", protocol), _pairs("--hub", hub), controls, adapter, track
    )
    run(wanted, options)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of `ouro benchmark`: first, others.")],
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = "table",
    kinds: Annotated[bool, typer.Option(help="Differences by kind of question, too.")] = True,
    track: Annotated[bool, typer.Option(help="Log the differences to MLflow.")] = False,
    csv: Annotated[str, typer.Option(metavar="FILE", help="Write all differences as CSV; - prints it.")] = "",
) -> None:
    """Compare runs on the same questions: paired difference, 95% interval and p, by benchmark and kind.

    \b
    Examples:
      ouro compare runs/base runs/boot
      ouro compare runs/base runs/boot runs/second --format markdown --no-kinds
      ouro compare runs/base runs/boot --csv gains.csv
    """
    from cli.compare import run

    run(runs, form, kinds, track, csv)


def paper(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUN...]", help="Folders of `ouro benchmark`.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How they are printed.")] = "table",
    table: Annotated[list[int] | None, typer.Option(metavar="N", help="Only table N. May be repeated.")] = None,
) -> None:
    """Print tables 1 to 6 of the paper, each figure the paper's own, with what was measured here in rows below.

    \b
    Examples:
      ouro paper
      ouro paper runs/base runs/boot --table 2
      ouro paper runs/base runs/boot --format markdown
    """
    from cli.paper import run

    run(runs or [], form, table or [])


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    from ouro.core.params import ParamsError

    made: dict[str, str] = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        if not (sign and name and value):
            raise ParamsError(f"{option} {text!r}: expected NAME=VALUE, such as vqav2=vqaeval")
        made[name] = value
    return made


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (score, benchmark, compare, paper):
        app.command()(command)
