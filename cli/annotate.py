"""`ouro annotate SOURCE --out DIR`: a person's own images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.options import AskAgain, ParamsFile, Profile, Set, Url, WhoRuns, read_params

RunnerKind = Literal["local", "threads", "ray"]


def annotate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of images, searched with its subfolders; a manifest (.csv, .jsonl); or a Hugging Face "
            "dataset: hf:NAME[:CONFIG][@SPLIT], or a folder that Dataset.save_to_disk wrote.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the dataset and the report go; made if missing.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The annotator: a Hugging Face folder, or with --backend openai its name."),
    ] = None,
    backend: WhoRuns = None,
    url: Url = None,
    limit: Annotated[int | None, typer.Option(min=0, metavar="N", help="Only the first N files (0: all).")] = None,
    shards: Annotated[
        str,
        typer.Option(metavar="I/N", help="Annotate every N-th shard, from number I: 0/4, 1/4, 2/4, 3/4 make a whole."),
    ] = "0/1",
    runner: Annotated[RunnerKind | None, typer.Option(help="How shards run; never changes a result.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, metavar="N", help="Shards at once, with threads or ray.")
    ] = None,
    ask_again: AskAgain = False,
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
    from flows.shards import parse_share
    from tasks.settings import CommandOptions, apply_options

    choices = CommandOptions(source, model, backend, url, limit, runner, workers)
    share = parse_share(shards)
    run(apply_options(read_params(params, profile, set_), choices), out, share, ask_again)
