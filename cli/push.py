"""`ouro push DIR OWNER/NAME`: a dataset export or an adapter to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `ouro export --out` wrote, or an adapter that `ouro train` did.")
    ],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the hub.")],
    private: Annotated[bool, typer.Option("--private/--public", help="Who can see it, where it is made now.")] = True,
    license_: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="Its licence, e.g. cc-by-4.0; goes into the card.")
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="An adapter's base on the hub; goes into the card."),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="What `ouro benchmark --out` wrote; goes into the card. May be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Send a dataset export or an adapter to the Hugging Face Hub.

    It says what goes where before it sends anything. Repositories are made private unless --public is given; one that
    is there keeps what it is. Run it again to go on after an interruption. The token comes from HF_TOKEN or `hf auth
    login`; HF_ENDPOINT names another hub. README.md, the card, can be edited before.

    \b
    Examples:
      ouro push out/swift me/photos --dry-run
      ouro push out/swift me/photos --license cc-by-4.0 --public
      ouro push out/photos/adapter me/photos-lora --base-model Qwen/Qwen2-VL-7B-Instruct
      ouro push out/photos/adapter me/photos-lora --scores runs/base --scores runs/boot
    """
    run(folder, repo, private, license_ or "", base_model or "", scores or [], dry_run)


def run(
    folder: Path,
    repo: str,
    private: bool = True,
    license: str = "",
    base_model: str = "",
    scores: list[Path] | None = None,
    dry_run: bool = False,
) -> None:
    """The command. Raises PushError, PushFailed, and BenchmarkFileError for a --scores that is no run."""
    from ouro.core.cards import is_hub_name
    from tasks import pushing, screen
    from tasks.cards import read_score_rows

    for option, name in {"OWNER/NAME": repo, "--base-model": base_model}.items():
        if name and not is_hub_name(name):
            raise pushing.PushError(f"{option}: got {name!r}, expected a name like me/photos")
    rows = read_score_rows(scores or [])
    endpoint = pushing.endpoint_of()
    local = pushing.read_local(folder)
    if base_model and local.kind == "dataset":
        raise pushing.PushError("--base-model: a dataset has none; expected it with an adapter")
    target = pushing.Target(repo, private, endpoint)
    if dry_run:
        local = local._replace(license=license or local.license)
        screen.say(f"push, dry run: {pushing.describe(local, target)}; nothing was sent, the card is as it was")
        return
    token, source = pushing.read_token()
    pushing.set_scores(folder, rows)
    relation = "adapter" if base_model else ""
    pushing.set_metadata(folder, {"license": license, "base_model": base_model, "base_model_relation": relation})
    local = pushing.read_local(folder)
    screen.say(f"push: {pushing.describe(local, target)}; token: {source}")
    screen.say(f"push: done: {pushing.push(local, target, token)}")
