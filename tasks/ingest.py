"""The task of stage ingest: a collection -> image shards and, for the nano world, annotations.

One task for the whole collection: duplicates are found over all of it, and it is cheap beside what follows. Images are
too many for a second copy in the cache. So a note beside it says of what collection, by what code and params the images
were made that lie there; where it holds, nothing is opened but the shards (DVC leaves them in place: `persist`).
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ouro.core.artifacts import fingerprint_files, list_shards, write_json
from ouro.core.cache import ShardCache
from ouro.core.json_text import parse_json
from ouro.core.layout import Layout
from ouro.ingest.sources import count_items, ingest_source, items
from ouro.ingest.stored import find_damaged
from tasks.addresses import SHARDS, code_of
from tasks.inbox import inbox_fingerprint
from tasks.shards import Progress, shard_task

if TYPE_CHECKING:
    from ouro.core.params import Params


def expected(params: Params, progress: Progress = lambda n: None) -> int:
    """How many files ingest is going to look at; 0: not known beforehand.

    Raises ImageError, ManifestError or DatasetError for a bad source.
    """
    settings = params.ingest
    if settings.source == "nano":
        return settings.train_images + settings.test_images
    n = count_items(settings, progress)
    return min(n, settings.limit) if n and settings.limit else n


def check_source(params: Params) -> None:
    """Raise ImageError, ManifestError or DatasetError when the source cannot be read at all; reads no image."""
    if params.ingest.source != "nano":
        next(iter(items(params.ingest)), None)


@shard_task(name="ingest", task_run_name="ingest")
def ingest(layout: Layout, params: Params, progress: Progress = lambda n: None) -> list[Path]:
    """-> data/images (shards, PNG files) and data/annotations (empty unless the source brings some)."""
    layout.annotations.mkdir(parents=True, exist_ok=True)
    store, note = ShardCache(layout.cache), layout.state.ingest
    key = _key(store, params)
    if key and _is_there(layout, key, note) and store.get(key, layout.annotations):
        progress(expected(params))
        return list_shards(layout.images)
    note.unlink(missing_ok=True)
    shards = _ingest(layout, params, progress)
    if key:
        store.put(key, sorted(layout.annotations.glob("*.json")) if params.ingest.source == "nano" else [])
        write_json(note, {"key": key, "images": _hash_shards(layout.images)})
    return shards


def _ingest(layout: Layout, params: Params, progress: Progress) -> list[Path]:
    if params.ingest.source == "nano":
        from ouro.nano.world import write_world

        return write_world(layout.images, layout.annotations, params.ingest, params.seed, progress)
    return ingest_source(params.ingest, layout.images, progress)


def code(params: Params) -> str:
    """The nano world, or what opens, decodes, compares and stores a collection, PNG files and shards; the task only
    chooses between them, by ingest.source."""
    return code_of("ouro.nano.world" if params.ingest.source == "nano" else "ouro.ingest.sources", SHARDS)


def _key(store: ShardCache, params: Params) -> str:
    """Of all that decides what ingest makes; "" where that cannot be told without reading everything."""
    digest = inbox_fingerprint(params)
    settings = {"seed": params.seed if params.ingest.source == "nano" else 0, **params.ingest.model_dump(mode="json")}
    return "" if digest is None else store.key("ingest", code(params), settings, "", [digest])


def _is_there(layout: Layout, key: str, note: Path) -> bool:
    """Whether all images of `key` lie in the folder. An image is known by its name (its content) and size."""
    try:
        state: dict[str, Any] = parse_json(note.read_text())
    except (OSError, ValueError):
        return False
    there = layout.images.is_dir() and state == {"key": key, "images": _hash_shards(layout.images)}
    return there and not find_damaged(layout.images)


def _hash_shards(images: Path) -> str:
    """SHA-256 (hex) over shards and sidecars, and over names and sizes of the images' files."""
    files = sorted(p for p in images.rglob("*") if p.is_file())
    digest = sha256(fingerprint_files([p for p in files if p.parent == images]).encode())
    for file in files:
        digest.update(f"{file.relative_to(images)} {file.stat().st_size}\n".encode())
    return digest.hexdigest()
