"""Manifests: a .csv or .jsonl file that lists the images of a collection, with split and captions.

    path,split,caption                                   {"path": "a/1.jpg", "split": "test",
    a/1.jpg,test,a dog on a sofa                          "captions": ["a dog on a sofa", "a brown dog"]}
    a/1.jpg,test,a brown dog

Paths are relative to the manifest. Only `path` is required; the split is "train" unless given. Several
lines of one path, however it is spelled, add up their captions. Quirk: a spreadsheet's byte order mark is skipped.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ouro.core.errors import OuroError
from ouro.core.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

SPLITS = ("train", "test")
_KEYS = {".csv": {"path", "split", "caption"}, ".jsonl": {"path", "split", "captions"}}
_MAX_LISTED = 20  # problems listed in one error


class ManifestError(OuroError, ValueError):
    """All problems of a manifest, one per line."""


class ManifestEntry(NamedTuple):
    """One file of a collection, with its split and captions from a manifest."""

    path: Path
    split: str = "train"
    captions: tuple[str, ...] = ()


def read_manifest(path: Path) -> list[ManifestEntry]:
    """The entries in order of first appearance; files need not exist yet. Raises ManifestError."""
    kind = path.suffix.lower()
    if kind not in _KEYS:
        raise ManifestError(f"manifest {path}: got the ending {kind!r}, expected .csv or .jsonl")
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"manifest {path}: cannot be read: {error}; expected a UTF-8 file") from error
    entries: dict[str, _Entry] = {}
    problems: list[str] = []
    for line, row in _csv_rows(text) if kind == ".csv" else _json_rows(text):
        problem = row if isinstance(row, str) else _find_problem(row, _KEYS[kind]) or _add(entries, row, path.parent)
        if problem:
            problems.append(f"  line {line}: {problem}")
    if not entries and not problems:
        problems.append("  no entries; expected one line per image with at least its path")
    if problems:
        overflow = [f"  and {len(problems) - _MAX_LISTED} more"] if len(problems) > _MAX_LISTED else []
        raise ManifestError("\n".join([f"manifest {path}:", *problems[:_MAX_LISTED], *overflow, "correct these lines"]))
    return [ManifestEntry(entry.path, entry.split, tuple(entry.captions)) for entry in entries.values()]


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The line on which a row begins, and the row or its problem. Empty cells and rows are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not header:
                header = cells
                repeated = [name for name, n in Counter(header).items() if name and n > 1]
                if repeated:
                    yield line, f"repeated {', '.join(map(repr, repeated))} in the header; expected each name once"
                    return
            elif len(cells) > len(header):
                yield line, f"more cells than the header's {len(header)}"
            elif cells:
                yield line, {name: value for name, value in zip(header, cells, strict=False) if value}
            line = reader.line_num + 1
    except csv.Error as error:
        yield line, f"not CSV: {error}"


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row: Any = parse_json(line)
        except ValueError as error:
            yield number, f"not JSON: {error}"
            continue
        yield (
            number,
            cast("dict[str, Any]", row) if isinstance(row, dict) else f"got {row!r}, expected an object",
        )


def _find_problem(row: dict[str, Any], keys: set[str]) -> str:
    """The problem of one row, or ""."""
    unknown = sorted(set(row) - keys)
    if unknown:
        return f"unknown {', '.join(map(repr, unknown))}; known: {', '.join(sorted(keys))}"
    if not _is_name(row.get("path")):
        return f"path: got {row.get('path')!r}, expected a file name"
    if row.get("split", "train") not in SPLITS:
        return f"split: got {row['split']!r}, expected {' or '.join(SPLITS)}"
    captions: Any = row.get("captions", [])
    if not isinstance(captions, list) or not all(isinstance(c, str) for c in cast("list[Any]", captions)):
        return f"captions: got {captions!r}, expected a list of texts"
    return ""


def _is_name(value: Any) -> bool:
    """Whether a value can be a file name: not empty, no NUL, no unpaired surrogates."""
    return isinstance(value, str) and value != "" and "\0" not in value and _clean(value) == value


class _Entry(NamedTuple):
    """One file while its lines are read; the captions are the keys, so that many lines of one file take no longer."""

    path: Path
    split: str
    captions: dict[str, None]


def _add(entries: dict[str, _Entry], row: dict[str, Any], folder: Path) -> str:
    """Add a checked row; returns the conflict with an earlier line, or ""."""
    name: str = row["path"]
    captions = tuple(_clean(c) for c in [*row.get("captions", []), *([row["caption"]] if "caption" in row else [])])
    absolute_path = os.path.abspath(folder / name)
    earlier_entry = entries.get(absolute_path)
    split: str = row.get("split", earlier_entry.split if earlier_entry else "train")
    if earlier_entry and earlier_entry.split != split:
        return f"split: got {split!r} for {name}, which an earlier line puts into {earlier_entry.split!r}"
    entry = earlier_entry or entries.setdefault(absolute_path, _Entry(folder / name, split, {}))
    entry.captions.update(dict.fromkeys(captions))
    return ""


def _clean(caption: str) -> str:
    """The text with unpaired surrogates, which JSON can hold and UTF-8 cannot, replaced by "?"."""
    return caption.encode("utf-8", "replace").decode("utf-8")
