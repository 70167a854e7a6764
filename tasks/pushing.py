"""`ouro push`: a dataset export or an adapter to the Hugging Face Hub, by huggingface_hub.

Everything is checked and said before anything is sent. The token comes from where huggingface_hub looks for it
(HF_TOKEN, or the login cache) and stands in no text that is shown. An upload that was interrupted goes on where it was
when it is run again: huggingface_hub leaves out what is there already.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ouro.core.cards import README, SCORES, ScoreRow, replace_section, score_table
from ouro.core.errors import OuroError
from ouro.core.files import write_text
from ouro.core.json_text import parse_json
from tasks.hub_errors import HUB_ERRORS, is_missing, say_hub_error

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["dataset", "model"]
DRAWS = "draws.parquet"  # what each epoch showed of each image: large, and nothing that a user of an adapter needs


class PushError(OuroError, ValueError):
    """What cannot be pushed, or what the hub refused: what, got, expected, fix."""


class PushFailed(OuroError, RuntimeError):
    """The hub, or the way to it, failed; the same command may succeed later."""


class LocalRepo(NamedTuple):
    """What is to be pushed: its kind on the hub, the files by their path in the folder, their bytes, its licence."""

    kind: Kind
    folder: Path
    files: tuple[str, ...]
    n_bytes: int
    license: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where it goes. `private`: for a repository that is made now; one that is there keeps what it is."""

    repo: str
    private: bool
    endpoint: str

    def url(self, kind: Kind) -> str:
        return f"{self.endpoint}/{'datasets/' if kind == 'dataset' else ''}{self.repo}"


def read_local(folder: Path) -> LocalRepo:
    """Look at a folder. Raises PushError unless it is a dataset export or an adapter with a card that the hub takes."""
    kind = _kind_of(folder)
    paths = sorted(path for path in folder.rglob("*") if not _is_hidden(path.relative_to(folder)))
    links = [path for path in paths if path.is_symlink()]
    if links:
        raise PushError(f"{links[0]}: got a link, expected files of its own; a push would follow it. Fix: copy it")
    files = [path for path in paths if path.is_file() and path.name != DRAWS]
    license_id = _read_metadata(folder / README).get("license") or ""
    names = tuple(path.relative_to(folder).as_posix() for path in files)
    return LocalRepo(kind, folder, names, sum(path.stat().st_size for path in files), str(license_id))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _kind_of(folder: Path) -> Kind:
    if (folder / "adapter_config.json").is_file() and (folder / "adapter_model.safetensors").is_file():
        return "model"
    try:
        counts: Any = parse_json((folder / "counts.json").read_bytes())
        is_export = isinstance(counts, dict) and "ouro_export" in counts
    except (OSError, ValueError):
        counts, is_export = {}, False
    if not is_export:
        raise PushError(
            f"{folder}: got neither an export (counts.json) nor an adapter (adapter_config.json and "
            f"adapter_model.safetensors). Fix: ouro export {folder} --format FORMAT --out OUT, and push OUT"
        )
    if counts.get("pictures") == "reference":
        raise PushError(
            f"{folder}: its rows name pictures by their paths on this machine, where nobody else has them. Fix: export "
            "again with --images copy or link"
        )
    return "dataset"


def _read_metadata(card: Path) -> dict[str, Any]:
    """The card's metadata. Raises PushError for a card without, or that is no YAML."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    if not card.is_file():
        raise PushError(f"{card}: not found, expected the card. Fix: export or train again")
    try:
        metadata: Any = metadata_load(card)
    except (ValueError, yaml.YAMLError) as error:
        raise PushError(f"{card}: its head is no YAML that the hub takes ({error}). Fix: put it right") from error
    if not metadata:
        raise PushError(f"{card}: got no metadata between two lines ---, expected those of the hub. Fix: make it again")
    return dict(metadata)


def set_metadata(folder: Path, values: dict[str, str]) -> None:
    """Write these fields into the card's metadata, and nothing else. Raises PushError."""
    from huggingface_hub.repocard import metadata_save

    given = {key: value for key, value in values.items() if value}
    metadata = _read_metadata(folder / README)
    if given.items() <= metadata.items():
        return
    metadata_save(folder / README, {**metadata, **given})


def set_scores(folder: Path, rows: Sequence[ScoreRow]) -> None:
    """Write these figures into the card's section of scores; none: leave it. Raises PushError for another's card."""
    if not rows:
        return
    card = folder / README
    _read_metadata(card)
    try:
        write_text(card, replace_section(card.read_text("utf-8"), SCORES, score_table(rows)))
    except ValueError as error:
        raise PushError(f"{card}: {error}. Fix: make it again, or leave --scores out") from error


def endpoint_of() -> str:
    """The hub's address: HF_ENDPOINT, or its own. Raises PushError where a token would go over the net unencrypted."""
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    endpoint = constants.ENDPOINT
    parts = urlsplit(endpoint)
    if "@" in endpoint or (parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1")):
        raise PushError(
            "HF_ENDPOINT: got an address with a user in it, or that is not https; expected https://..., since the "
            "token goes there"
        )
    return endpoint


def read_token() -> tuple[str, str]:
    """The token, and where it is from. Raises PushError where there is none."""
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise PushError(
            "no token of the hub: neither HF_TOKEN nor a login. Fix: hf auth login, or set HF_TOKEN to a token that "
            "may write"
        )
    return token, "HF_TOKEN" if os.environ.get("HF_TOKEN") else "the login cache"


def describe(local: LocalRepo, target: Target) -> str:
    """What a push does, in one line."""
    kept = "made if missing, then private" if target.private else "made if missing, then public"
    return (
        f"{local.kind} {local.folder}: {len(local.files)} files, {local.n_bytes / 1e6:.1f} MB, to "
        f"{target.url(local.kind)} ({kept}); licence: {local.license or 'none chosen, nobody is given any right'}"
    )


def push(local: LocalRepo, target: Target, token: str) -> str:
    """Make the repository where it is missing, and upload; the address of the last commit.

    Raises PushError for what the hub refuses, and PushFailed where it, or the way to it, fails. No text holds `token`.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=target.endpoint, token=token)
    try:
        if not _check_repo(api, local.kind, target):
            api.create_repo(target.repo, repo_type=local.kind, private=target.private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=target.repo, repo_type=local.kind, folder_path=local.folder,
            allow_patterns=[_escape_pattern(name) for name in local.files],
            commit_message=f"ouro push: {local.kind}, {len(local.files)} files",
        )  # fmt: skip
        return str(commit.commit_url)
    except OuroError:
        raise
    except HUB_ERRORS as error:
        text, is_lasting = say_hub_error(error, target.url(local.kind))
        text = text.replace(token, "***")
        raise (PushError(text) if is_lasting else PushFailed(text)) from None


def _escape_pattern(name: str) -> str:
    """A file's name as a pattern of fnmatch that matches it alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _check_repo(api: HfApi, kind: Kind, target: Target) -> bool:
    """Whether the repository is there. Raises PushError where it is of the other kind, or more public than wanted."""
    try:
        info = api.repo_info(target.repo, repo_type=kind)
    except HUB_ERRORS as error:
        if not is_missing(error):
            raise
    else:
        if bool(info.private) != target.private:
            is_now, flag = ("private", "--private") if info.private else ("public", "--public")
            raise PushError(
                f"{target.url(kind)}: is there already and {is_now}; a push does not change that. Fix: say {flag}, or "
                "change it in the repository's settings first"
            )
        return True
    other: Kind = "model" if kind == "dataset" else "dataset"
    try:
        api.repo_info(target.repo, repo_type=other)
    except HUB_ERRORS as error:
        if not is_missing(error):
            raise
        return False
    raise PushError(
        f"{target.repo}: there is a {other} of that name already, and this is a {kind}. Fix: push to another name"
    )
