"""`ouro fetch`: the models that a profile names, from the Hugging Face hub and from torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import ParamsFile, Profile, Set


def fetch(
    profile: Profile = None,
    params: ParamsFile = None,
    set_: Set = None,
    check: Annotated[
        bool, typer.Option("--check", help="Download nothing; read what is there and compare digests.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace folders that hold something else.")] = False,
) -> None:
    """Bring the models of a profile into models/: pinned revisions, safetensors only, digests recorded.

    A fetch that was interrupted goes on with the files that are missing. `fetch` in the params names the source of
    each folder.

    \b
    Examples:
      ouro fetch --profile paper
      ouro fetch --profile one-gpu --check
      ouro fetch --set model.base=models/mine --set fetch='{models/mine: OWNER/NAME@REVISION}'
    """
    raise SystemExit(run(profile, params, set_, check=check, force=force))


def run(
    profile: str | None = None,
    params_file: Path | None = None,
    overrides: list[str] | None = None,
    *,
    check: bool = False,
    force: bool = False,
) -> int:
    """The command; 1 when --check finds a folder missing or changed. Raises FetchError, ParamsError."""
    from cli.options import read_params
    from tasks import fetching, screen

    folders = fetching.wanted(read_params(params_file, profile, overrides))
    if not folders:
        screen.say("nothing to fetch: every model that these params name is there")
    bad = 0
    for folder, source in folders.items():
        if check:
            problem = _problem(folder)
            bad += bool(problem)
            screen.say(f"{folder}: {problem or 'as it was fetched'}")
            continue
        screen.say(f"{folder}: from {source or 'nowhere'}")
        got = fetching.fetch(folder, source, force=force)
        verb = "fetched" if got.is_new else "is there"
        screen.say(f"{folder}: {verb}, {got.size / 1e6:,.1f} MB, revision {got.revision}")
    return 1 if bad else 0


def _problem(folder: Path) -> str:
    from tasks import fetching

    if not folder.is_dir():
        return "not there"
    if not fetching.read_note(folder):
        return "of unknown origin: ouro fetch did not bring it"
    changed = fetching.changed_files(folder)
    return f"changed or missing: {', '.join(changed[:5])}" if changed else ""
