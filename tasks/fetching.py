"""What `ouro fetch` does: bring the models that params name, each into its folder, whole or not at all.

A folder's source is OWNER/NAME@REVISION on the Hugging Face hub, or torchvision:NETWORK/WEIGHTS. Files are downloaded
into a hidden folder beside the final one, where the next fetch finds those that came whole (the hub's library keeps no
part of a file beyond a run); once digests are right it takes the final name. `fetched.json` in it says where the files
came from, at which commit, and their SHA-256.

Only safetensors, JSON, text and templates are taken, and of the repository's top folder alone: no pickle, no code.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.errors import OuroError
from ouro.core.files import write_json
from ouro.core.hub import ENDPOINT, endpoint_problem
from ouro.core.json_text import parse_json
from ouro.core.model_files import find_unsafe
from tasks.processes.locks import LockHeld, exclusive

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

    from ouro.core.params import Params

NOTE = "fetched.json"
TORCHVISION = "torchvision:"
FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.jinja", "*.model", "LICENSE*", "README.md")
_NOT = ("consolidated*", NOTE)  # Mistral's second copy of the weights


class FetchError(OuroError, ValueError):
    """A model that cannot be brought: what, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A folder with its source, the commit or address that it came from, and the bytes of its files. `is_new`: it was
    downloaded now."""

    folder: Path
    source: str
    revision: str
    size: int
    is_new: bool


def wanted(params: Params) -> dict[Path, str]:
    """The folders that these params use and their sources, "" where `fetch` names none and the folder is missing.

    A name of the hub or of torchvision that is no folder is left out.
    """
    names = [params.model.base, params.model.adapter]
    names += [params.model.proposer] if "rpn" in params.propose.proposers else []
    names += [params.propose.grounding_model] if "grounding" in params.propose.proposers else []
    folders: dict[Path, str] = {}
    for name in filter(None, names):
        source = params.fetch.get(name, "")
        if source or (name.startswith(("models/", ".", "/")) and not Path(name).is_dir()):
            folders[Path(name)] = source
    return folders


def fetch(folder: Path, source: str, *, force: bool = False) -> Fetched:
    """Bring one folder, unless it is there from this source. `force`: replace what is there.

    Raises FetchError: no source, a folder of something else, a source that cannot be had, files that are damaged or
    unsafe, another fetch of the same folder at work.
    """
    if not source:
        raise FetchError(
            f"{folder}: not there, and params name no source. Fix: add it under fetch:, e.g. `{folder}: OWNER/NAME@"
            "REVISION`, or put the model there yourself"
        )
    if folder.exists() and not force:
        return _present(folder, source)
    part = folder.with_name(f".{folder.name}.fetch")
    part.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive(part.with_name(f"{part.name}.lock"), wait=False):
            revision = _fill(part, source)
            _check(part, folder)
            _take_place(part, folder)
    except LockHeld as error:
        raise FetchError(f"{folder}: another `ouro fetch` is bringing it. Fix: wait for that one to end") from error
    return Fetched(folder, source, revision, _size(folder), True)


def _present(folder: Path, source: str) -> Fetched:
    note = read_note(folder)
    if note.get("source") != source:
        got = note.get("source") or "files of unknown origin"
        raise FetchError(
            f"{folder}: got {got}, expected {source}. Fix: --force to replace it, or correct `fetch` in the params"
        )
    return Fetched(folder, source, str(note.get("revision", "")), _size(folder), False)


def read_note(folder: Path) -> dict[str, Any]:
    """What fetched.json says; {} without one."""
    try:
        note = parse_json((folder / NOTE).read_bytes())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def changed_files(folder: Path) -> list[str]:
    """The files that are not those that were fetched, by their SHA-256; all are read."""
    files = read_note(folder).get("files", {})
    return sorted(name for name, digest in files.items() if _digest(folder / name) != digest)


# ---- sources -----------------------------------------------------------------------------------------


def _fill(part: Path, source: str) -> str:
    """Download into `part`, with its note; returns the commit or address."""
    if source.startswith(TORCHVISION):
        revision, expected = _from_torchvision(part, source), dict[str, str]()
    else:
        revision, expected = _from_hub(part, source)
    shutil.rmtree(part / ".cache", ignore_errors=True)  # of the download: times, which would change DVC's digest
    digests = {path.name: _digest(path) for path in sorted(part.iterdir()) if path.is_file() and path.name != NOTE}
    if damaged := sorted(name for name, digest in expected.items() if digests.get(name) != digest):
        for name in damaged:
            (part / name).unlink(missing_ok=True)
        raise FetchError(f"{source}: {damaged[0]} came in damaged (another SHA-256 than the hub's); fetch again")
    write_json(part / NOTE, {"source": source, "revision": revision, "files": digests})
    return revision


def _from_torchvision(part: Path, source: str) -> str:
    from ouro.vision.faster_rcnn import fetch_network

    network, _, name = source.removeprefix(TORCHVISION).partition("/")
    return fetch_network(network, name or "COCO_V1", part)


def _from_hub(part: Path, source: str) -> tuple[str, dict[str, str]]:
    """The commit, and the SHA-256 of the large files as the hub gives them."""
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    endpoint = os.environ.get(ENDPOINT) or None
    with _explained(source):
        info = _info(name, revision or None, endpoint)
        files = _choose(info, source)
        commit = str(info.sha)
        snapshot_download(name, revision=commit, local_dir=part, allow_patterns=list(files), endpoint=endpoint)
    for path in part.iterdir():  # of an earlier fetch of another revision
        if path.is_file() and path.name not in files:
            path.unlink()
    return commit, {name: digest for name, digest in files.items() if digest}


def _info(name: str, revision: str | None, endpoint: str | None) -> ModelInfo:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint).model_info(name, revision=revision, files_metadata=True)


def _choose(info: ModelInfo, source: str) -> dict[str, str]:
    """The files to take, with their SHA-256 where the hub gives one. Raises FetchError where none is safetensors."""
    names = {s.rfilename: (s.lfs.sha256 if s.lfs else "") for s in info.siblings or []}
    files = {
        name: digest
        for name, digest in names.items()
        if "/" not in name and any(fnmatch(name, p) for p in FILES) and not any(fnmatch(name, p) for p in _NOT)
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise FetchError(
            f"{source}: got no *.safetensors among its {len(names)} files; expected a model's weights in that form. "
            "Pickled weights are refused. Fix: name a repository or revision that has them"
        )
    return files


@contextmanager
def _explained(source: str) -> Generator[None]:
    """Raise FetchError for whatever the hub's library, or the one below it, raises."""
    try:
        yield
    except OuroError:
        raise
    except Exception as error:  # theirs, of many kinds; of an address that is no hub TypeError, too
        said = " ".join(str(error).split())[:300]
        reason = endpoint_problem() or (
            f"not to be had: {type(error).__name__}: {said}. Fix: correct its name or revision in `fetch`; for a gated "
            "model accept its licence on the hub and set HF_TOKEN; without a network fetch it elsewhere and copy the "
            "folder"
        )
        raise FetchError(f"{source}: {reason}") from error


# ---- folders -----------------------------------------------------------------------------------------


def _check(part: Path, folder: Path) -> None:
    if problems := find_unsafe(part):
        raise FetchError("\n  ".join([f"{folder}: what came is refused", *problems[:5]]))


def _take_place(part: Path, folder: Path) -> None:
    """Give `part` the name of `folder`, whose files are removed after that."""
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file())


def _digest(path: Path) -> str:
    """SHA-256 (hex); "" for a file that is not there."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
