"""A collection of pictures -> shards of Image records with their PNG files (stage ingest).

A collection is a folder, the entries of a manifest, or the rows of a Hugging Face dataset. Every file or row is
stored or rejected with a reason: those of ouro.core.images, and

    duplicate       the same pixels as an earlier one, whatever the file format
    near_duplicate  an earlier one of the same size, encoded again (see ouro/ingest/duplicates.py)

Decoding and PNG encoding run in threads a few files ahead; results are taken in order, so that the shards do not
depend on the number of threads. The index of earlier pictures is on disk: memory does not grow with the collection.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.artifacts import prune_shards, write_shard
from ouro.core.control_tokens import break_control_tokens, count_broken_tokens, tokens_meta
from ouro.core.depth import NOTE
from ouro.core.files import sync
from ouro.core.images import ImageError, content_id, decode_image, encode_png, formats, load_image
from ouro.core.records import Image, Rejected
from ouro.ingest.duplicates import PictureIndex, Signature, compute_signature
from ouro.ingest.loose_files import Origin, load_loose
from ouro.ingest.manifest import ManifestEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ouro.core.artifacts import Sidecar
    from ouro.core.params import Ingest

THREADS = min(4, os.cpu_count() or 1)
DEPTHS = "scaled from bits"  # key of a sidecar's meta: bits -> pictures of so many bits in files of 16
AHEAD = 2 * THREADS  # pictures being decoded or waiting to be written


class DatasetRow(NamedTuple):
    """One picture of a Hugging Face dataset: encoded, or the `path` of its file, and its captions."""

    name: str
    data: bytes | None
    captions: tuple[str, ...] = ()
    split: str = "train"
    path: str = ""
    origin: Origin | None = None


class _Decoded(NamedTuple):
    png: bytes
    size: tuple[int, int]
    signature: Signature
    bits: int = 16


# ---- folders ---------------------------------------------------------------------------------------


def find_images(folder: Path) -> Iterator[Path]:
    """All files under a folder in the order of their relative paths, without hidden ones (".name").

    They may not all be images. Links to folders and folders without permission are listed but not entered, so that
    they are rejected later, with a reason. Raises ImageError (no_folder, empty_folder) at the call.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise ImageError("no_folder", f"{folder}: got {got}; expected a folder of images: correct the path")
    files = list_files(folder)
    first_file = next(files, None)
    if first_file is None:
        raise ImageError("empty_folder", f"{folder}: got no files; expected images ({', '.join(formats())})")
    return chain([first_file], files)


def list_files(folder: Path) -> Iterator[Path]:
    """All files below a folder in the order of their relative paths, hidden ones left out.

    A folder that cannot be read stands for its content. Only the names of the folders on the way down are held at once.
    """
    below = [iter(_children(folder))]
    while below:
        child = next(below[-1], None)
        if child is None:
            below.pop()
        elif child[1]:
            below.append(iter(_children(child[0])))
        else:
            yield child[0]


def _children(folder: Path) -> list[tuple[Path, bool]]:
    """What lies in a folder, sorted, and whether it is a folder; one that cannot be read stands for its content."""
    try:
        with os.scandir(folder) as entries:
            children = [(e.name, e.is_dir(follow_symlinks=False)) for e in entries if not e.name.startswith(".")]
    except OSError:
        return [(folder, False)]
    return [(folder / name, is_folder) for name, is_folder in sorted(children, key=lambda e: e[0] + "/" * e[1])]


# ---- ingest ----------------------------------------------------------------------------------------


def ingest_files(
    items: Iterable[Path | ManifestEntry | DatasetRow],
    root: Path,
    out: Path,
    params: Ingest,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Store a collection as shards: `out`/shard-00000.parquet of Image records and shard-00000/<image id>.png.

    Every item is kept or rejected; a shard holds up to `params.shard_images` kept images. Files outside `root` are
    rejected. Shards of an earlier run in `out` are removed when the first image is kept. `progress(1)` is called
    per item. Returns the shards. Raises ImageError (no_images) when no image could be kept; `out` is then unchanged.
    """
    entries = (ManifestEntry(item) if isinstance(item, Path) else item for item in items)
    with PictureIndex() as index:
        writer = _Writer(out, params, index)
        for entry, source, decoded in _decode_ahead(entries, root, params):
            try:
                writer.keep(entry, source, decoded.result())
            except ImageError as error:
                writer.reject(Rejected("ingest", source, error.reason, error.detail))
            if progress is not None:
                progress(1)
        if not writer.n_kept:
            reasons = Counter(r.reason for r in writer.rejected)
            counts = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
            expected = f"expected images ({', '.join(formats())}): correct the path"
            if reasons["outside_folder"]:
                expected += "; for links that lead out of the folder: --set ingest.links=follow"
            raise ImageError("no_images", f"{root}: got {reasons.total()} files, no image ({counts}); {expected}")
        return writer.close()


def _decode_ahead(
    entries: Iterable[ManifestEntry | DatasetRow], root: Path, params: Ingest
) -> Iterator[tuple[ManifestEntry | DatasetRow, str, Future[_Decoded]]]:
    """Entries in order with their decoded pictures; at most AHEAD of them are decoded in advance."""
    queue: deque[tuple[ManifestEntry | DatasetRow, str, Future[_Decoded]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for entry in entries:
            queue.append((entry, _source_name(entry, root), pool.submit(_decode, entry, root, params)))
            if len(queue) > AHEAD:
                yield queue.popleft()
        yield from queue


def _decode(entry: ManifestEntry | DatasetRow, root: Path, params: Ingest) -> _Decoded:
    if isinstance(entry, ManifestEntry):
        picture = load_image(entry.path, params.max_pixels, root, params.links == "follow")
    elif entry.data is None:
        picture = load_loose(entry.path, entry.origin, params.max_pixels, params.links == "follow")
    else:
        picture = decode_image(entry.data, params.max_pixels)
    return _Decoded(encode_png(picture), picture.size, compute_signature(picture), picture.info.get(NOTE, 16))


def shard_stem(number: int) -> str:
    """7 -> shard-00007."""
    return f"shard-{number:05d}"


class _Writer:
    """Fills one shard after the other. A shard is finished when the next one gets its first image, so that no shard
    holds rejected records alone."""

    def __init__(self, out: Path, params: Ingest, index: PictureIndex) -> None:
        self.out, self.params, self.index = out, params, index
        self.n_kept = 0
        self.images: list[Image] = []
        self.rejected: list[Rejected] = []
        self.shards: list[Path] = []
        self.depths: Counter[int] = Counter()

    def keep(self, entry: ManifestEntry | DatasetRow, source: str, picture: _Decoded) -> None:
        """Store a picture. Raises ImageError (duplicate, near_duplicate)."""
        image_id = content_id(picture.png)
        self._refuse_known(image_id, picture)
        if not self.n_kept:
            self.out.mkdir(parents=True, exist_ok=True)
            prune_shards(self.out, keep=())
        if len(self.images) == self.params.shard_images:
            self.close()
        path = f"{shard_stem(len(self.shards))}/{image_id}.png"
        (self.out / path).parent.mkdir(exist_ok=True)
        (self.out / path).write_bytes(picture.png)
        self.index.add(image_id, source, path, picture.signature)
        self.n_kept += 1
        if picture.bits < 16:
            self.depths[picture.bits] += 1
        captions = tuple(break_control_tokens(caption).text for caption in entry.captions)
        self.images.append(Image(image_id, path, *picture.size, source, entry.split, captions))

    def _refuse_known(self, image_id: str, picture: _Decoded) -> None:
        original = self.index.same(image_id)
        if original:
            raise ImageError("duplicate", f"same pixels as {original}")
        if self.params.near_duplicates == "reject":
            similar = self.index.near(picture.signature, picture.png, self.out)
            if similar:
                raise ImageError("near_duplicate", f"{similar}, encoded again; ingest.near_duplicates=keep keeps both")

    def reject(self, record: Rejected) -> None:
        self.rejected.append(record)

    def _sync_pictures(self) -> None:
        """Wait until the shard's pictures are on the disk: the sidecar that names them comes after them."""
        files = [self.out / image.path for image in self.images]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(sync, files))
        sync(*{file.parent for file in files}, self.out)

    def close(self) -> list[Path]:
        """Finish the current shard; returns all shards so far."""
        path = self.out / f"{shard_stem(len(self.shards))}.parquet"
        self._sync_pictures()
        n_in = len(self.images) + len(self.rejected)
        meta = {DEPTHS: {str(bits): n for bits, n in sorted(self.depths.items())}} if self.depths else {}
        meta |= tokens_meta(sum(count_broken_tokens(text) for image in self.images for text in image.captions))
        write_shard(path, Image, self.images, n_in=n_in, rejected=self.rejected, meta=meta)
        self.shards.append(path)
        self.images, self.rejected, self.depths = [], [], Counter()
        return self.shards


def _source_name(entry: ManifestEntry | DatasetRow, root: Path) -> str:
    """A row's name, or a file's path (relative to `root` if it is below it) as valid UTF-8 text."""
    if isinstance(entry, DatasetRow):
        return entry.name
    absolute, base = entry.path.absolute(), root.absolute()
    path = absolute.relative_to(base) if absolute.is_relative_to(base) else entry.path
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def depth_notes(sidecars: Iterable[Sidecar]) -> list[str]:
    """What is to be said of pictures that were scaled by fewer bits than their files have."""
    counts: Counter[str] = Counter()
    for sidecar in sidecars:
        counts.update(sidecar.meta.get(DEPTHS, {}))
    return [
        f"{n} pictures hold samples of at most {bits} bits in files of 16: scaled by {2 ** int(bits) - 1}, not 65535"
        for bits, n in sorted(counts.items())
    ]
