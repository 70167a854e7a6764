"""What the stage tasks share: the retry policy, the folders of a run, the shard cache, lazily decoded pictures.

A task is given ONE shard as paths and typed params; it reads records, lets `ouro` decide, and writes records.
Nothing here holds a formula of the method.
"""

from __future__ import annotations

import logging
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from prefect import task
from prefect.cache_policies import NO_CACHE

from ouro.core.artifacts import ShardCache, code_fingerprint, fingerprint_files, shard_files
from ouro.core.files import publish
from ouro.core.images import CHUNK_PIXELS, load_image
from ouro.core.images import chunks as pixel_chunks

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from ouro.core.records import Image

log = logging.getLogger(__name__)

Progress = Callable[[int], None]


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failure may pass by itself: bad input (the ValueError family, a missing file) does not."""
    try:
        state.result()
    except (ValueError, TypeError, KeyError, FileNotFoundError):
        return False
    except Exception:
        return True
    return True


shard_task = partial(
    task,
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)


@lru_cache(maxsize=16)
def code_of(stage: str) -> str:
    """The fingerprint of a stage's code, with all that it imports."""
    return code_fingerprint([f"tasks.{stage}"], ("ouro", "tasks"))


def cache_key(
    store: ShardCache, stage: str, name: str, params: Mapping[str, Any], model: str, inputs: Sequence[Path]
) -> str:
    """The key of one result: all that decides it, which is code (with its imports), params, model, input bytes."""
    return store.key(stage, code_of(stage), {**params, "name": name}, model, [fingerprint_files([p]) for p in inputs])


def produce(
    stage: str, out: Path, *, inputs: Sequence[Path], params: Mapping[str, Any], model: str = "",
    cache: Path, make: Callable[[], object],
) -> bool:  # fmt: skip
    """Restore the shard `out` from the cache, or make it and keep it. True when it was restored.

    The cache lies outside DVC's outputs, so a run killed in the middle of a stage resumes at its first missing
    shard, and a repeated run repeats nothing. A shard that another process is making is waited for, and then
    restored; the lock of a process that died holds nobody up.
    """
    store = ShardCache(cache)
    key = cache_key(store, stage, out.name, params, model, inputs)
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock_file(cache, stage, out.name)):
        if _restored(store, key, out):
            log.info("%s %s: restored, nothing to do", stage, out.name)
            return True
        for stale in reversed(shard_files(out)):  # the sidecar first: without it the shard counts as unfinished
            stale.unlink(missing_ok=True)
        make()
        store.put(key, list(dict.fromkeys(shard_files(out))))  # of a JSON result, sidecar and file are one
        return False


def _lock_file(cache: Path, stage: str, name: str) -> Path:
    path = cache / "locks" / f"{stage}-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _restored(store: ShardCache, key: str, out: Path) -> bool:
    """Whether `out` now is what the cache has under `key`. Files that are so already stay untouched: another process
    may be reading them for its next stage."""
    with tempfile.TemporaryDirectory() as folder:
        if not store.get(key, Path(folder)):
            return False
        kept = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    if kept != {path.name: path.read_bytes() for path in shard_files(out)}:
        publish(out.parent, kept)
    return True


class Pictures(Mapping[str, "PILImage.Image"]):
    """image_id -> decoded picture, decoded when asked for. Up to CHUNK_PIXELS, at least one, stay open."""

    def __init__(self, images: Sequence[Image], folder: Path, max_pixels: int) -> None:
        self._files = {image.image_id: folder / image.path for image in images}
        self._max_pixels = max_pixels
        self._open: OrderedDict[str, PILImage.Image] = OrderedDict()  # the least recently used first
        self._pixels = 0  # of all open ones

    def __getitem__(self, image_id: str) -> PILImage.Image:
        if image_id in self._open:
            self._open.move_to_end(image_id)
            return self._open[image_id]
        picture = self._open[image_id] = load_image(self._files[image_id], self._max_pixels)
        self._pixels += picture.width * picture.height
        while self._pixels > CHUNK_PIXELS and len(self._open) > 1:
            _, oldest = self._open.popitem(last=False)
            self._pixels -= oldest.width * oldest.height
        return picture

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def chunks(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Runs of images whose decoded pixels fit into CHUNK_PIXELS."""
    return pixel_chunks(images, lambda image: image.width * image.height)
