"""Where a link of a collection may lead: within its folder, or into the store of contents that it is a view of.

Such stores name a file by its content, so that no link reaches anything else through them:

    Hugging Face hub   datasets--ORG--NAME/snapshots/REVISION/... -> datasets--ORG--NAME/blobs/HASH
    DVC                a repository's .dvc/cache, or the cache.dir of its configuration: [files/md5/]ab/cdef...
    git-annex          a repository's .git/annex/objects/...
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

_HUB = re.compile(r"(datasets|models|spaces)--.+")
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DVC = re.compile(r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")
_ANNEX = re.compile(r"(.+/)?(MD5|SHA\d|BLAKE|WORM|URL|X)[^/]*/[^/]+")


def leads_outside(path: Path, root: Path, follow: bool = False) -> bool:
    """Whether a file of a collection lies outside of its folder `root`, itself or through links.

    `follow`: links may lead anywhere, and only the path as it is written must lie below `root`.
    """
    if follow:
        return not _normal(path).is_relative_to(_normal(root))
    target, folder = path.resolve(), root.resolve()
    if target.is_relative_to(folder):
        return False
    written_inside = _normal(path).is_relative_to(_normal(root))
    return not (written_inside and any(_is_content(target, store, shape) for store, shape in _stores(folder)))


def _normal(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _is_content(target: Path, store: Path, shape: re.Pattern[str]) -> bool:
    return target.is_relative_to(store) and shape.fullmatch(target.relative_to(store).as_posix()) is not None


@lru_cache(maxsize=64)
def _stores(folder: Path) -> tuple[tuple[Path, re.Pattern[str]], ...]:
    return tuple(_find_stores(folder))


def _find_stores(folder: Path) -> Iterator[tuple[Path, re.Pattern[str]]]:
    """The stores of the collection in a resolved folder, with the names of their contents."""
    for parent in (folder, *folder.parents):
        if parent.name == "snapshots" and _HUB.fullmatch(parent.parent.name):
            yield (parent.parent / "blobs").resolve(), _BLOB
        if (parent / ".dvc").is_dir():
            yield from ((store, _DVC) for store in _dvc_caches(parent / ".dvc"))
        if (parent / ".git" / "annex" / "objects").is_dir():
            yield (parent / ".git" / "annex" / "objects").resolve(), _ANNEX


def _dvc_caches(settings: Path) -> Iterator[Path]:
    yield (settings / "cache").resolve()
    for name in ("config", "config.local"):
        config = configparser.ConfigParser(interpolation=None)
        try:
            config.read(settings / name, "utf-8")
            folder = config.get("cache", "dir", fallback="").strip("\"' ")
        except (configparser.Error, OSError, ValueError):
            continue
        if folder:
            yield (settings / Path(folder).expanduser()).resolve()
