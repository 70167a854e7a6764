"""Whether what ingest stored is still whole: after a full disk, a power cut, or a hand that removed a file."""

from __future__ import annotations

from pathlib import Path

from ouro.core.artifacts import list_shards, read_shard
from ouro.core.files import ArtifactError
from ouro.core.pictures import stored_file
from ouro.core.records import Image

_START, _END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def find_damaged(images: Path) -> list[str]:
    """Shards and pictures of a folder that are missing, empty or half-written, each with what is wrong with it.

    Of a picture its size, start and end are looked at, not its pixels.
    """
    damaged: list[str] = []
    for shard in list_shards(images) if images.is_dir() else []:
        try:
            files = [stored_file(images, image) for image in read_shard(shard, Image)]
        except ArtifactError as error:
            damaged.append(f"{shard.name}: {_reason(error, shard)}")
            continue
        damaged += [f"{file.relative_to(images)}: {what}" for file in files if (what := _damage(file))]
    orphans = {p.stem for p in images.glob("shard-*.json")} - {p.stem for p in images.glob("shard-*.parquet")}
    return damaged + [f"{stem}.parquet: missing" for stem in sorted(orphans)]


def _reason(error: ArtifactError, shard: Path) -> str:
    return str(error).partition("; ")[0].replace(f"{shard}", "").replace(f"{shard.parent}/", "").strip(": ")[:200]


def _damage(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            start = stream.read(len(_START))
            if not start:
                return "empty"
            stream.seek(-min(len(_END), stream.seek(0, 2)), 2)
            return "" if start == _START and stream.read() == _END else "half-written"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
