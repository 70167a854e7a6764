"""The column of a data set that holds the pictures, and which of them are taken where a row has several.

`ingest.image_column` is NAME, NAME[0] for the first picture of a list, NAME[-1] for the last, or NAME[*] for all, each
an image of its own ("row 000007[2]"). A column holds pictures as `datasets.Image`, as bytes, as {bytes, path}, or as
the paths of files, or lists of one of these.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ouro.core.errors import OuroError
from ouro.core.images import ImageError
from ouro.ingest.loose_files import find_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ouro.ingest.loose_files import Origin

ALL = "*"
LOOKED_AT = 1000  # rows in which a path is looked for
KNOB = "set ingest.image_column"
_CHOICE = re.compile(r"(.+)\[(\*|-?\d+)\]")


class DatasetError(OuroError, ValueError):
    """A Hugging Face dataset that cannot be used, with what to do about it."""


class ImageColumn(NamedTuple):
    """A column and the place in its lists: a number, "*" for all, None where it holds no lists."""

    name: str
    place: int | str | None = None


class Cell(NamedTuple):
    """One picture of a row: its place in the row's list ("" without one), and its bytes or its path."""

    place: str
    data: bytes | None
    path: str


def parse_column(text: str, columns: Mapping[str, Any]) -> ImageColumn:
    """NAME or NAME[PLACE]; a column that is named like that is one."""
    match = None if text in columns else _CHOICE.fullmatch(text)
    if not match:
        return ImageColumn(text)
    return ImageColumn(match[1], ALL if match[2] == ALL else int(match[2]))


def check_image_column(source: str, columns: Mapping[str, Any], column: ImageColumn) -> None:
    """Raises DatasetError that says which columns hold images, and how one of a list is chosen."""
    others = [name for name, feature in columns.items() if _is_image(_inner(feature))]
    images = f" (images: {', '.join(others)})" if others else ""
    if column.name not in columns:
        listed = ", ".join(columns)
        raise DatasetError(f"dataset {source}: no column {column.name!r}; it has {listed}{images}; {KNOB}")
    feature = columns[column.name]
    if not _may_hold_images(_inner(feature)):
        raise DatasetError(
            f"dataset {source}: column {column.name!r} holds {feature}, expected images or paths of files{images}; "
            f"{KNOB}"
        )
    if _is_list(feature) and column.place is None:
        raise DatasetError(
            f"dataset {source}: column {column.name!r} holds lists of images; {KNOB}={column.name}[0] for the first of "
            f"each row, or ={column.name}[*] for all of them as images of their own"
        )
    if not _is_list(feature) and column.place is not None:
        raise DatasetError(f"dataset {source}: column {column.name!r} holds no lists; {KNOB}={column.name}")


def other_image_columns(columns: Mapping[str, Any], column: ImageColumn) -> list[str]:
    """The columns of images that are not taken."""
    return [name for name, feature in columns.items() if name != column.name and _is_image(_inner(feature))]


def keep_encoded(dataset: Any, columns: Mapping[str, Any], column: ImageColumn, caption_column: str) -> Any:
    """The dataset with the columns that are read, whose pictures are left encoded."""
    import datasets

    kept = dataset.select_columns(list(dict.fromkeys(name for name in (column.name, caption_column) if name)))
    if not _is_image(_inner(columns[column.name])):
        return kept
    encoded = datasets.Image(decode=False)
    return kept.cast_column(column.name, datasets.List(encoded) if _is_list(columns[column.name]) else encoded)


def check_paths(dataset: Any, source: str, columns: Mapping[str, Any], column: ImageColumn, origin: Origin) -> None:
    """Raises DatasetError where a column of texts holds no paths of files, told by the first of them."""
    if not _is_text(_inner(columns[column.name])) or origin.folder is None:
        return
    paths = (
        cell.path
        for row in islice(dataset, LOOKED_AT)
        for cell in cells(row[column.name], column._replace(place=_any(column)))
    )
    first = next((path for path in paths if path), "")
    try:
        is_file = "://" in first or (bool(first) and find_file(first, origin.folder).is_file())
    except (ImageError, OSError, ValueError):
        is_file = False
    if not is_file:
        raise DatasetError(
            f"dataset {source}: column {column.name!r} holds texts, expected images or paths of files below the data "
            f"set's folder or beside its data file; the first is {first[:80]!r}; {KNOB}"
        )


def _any(column: ImageColumn) -> int | str | None:
    return None if column.place is None else ALL


def cells(value: Any, column: ImageColumn) -> Iterator[Cell]:
    """The pictures of one row, at least one: one without bytes and path where there is none."""
    if column.place is None:
        yield _cell("", value)
        return
    values: list[Any] = list(value or ())
    places = range(len(values)) if column.place == ALL else [cast("int", column.place)]
    for place in places:
        there = -len(values) <= place < len(values)
        yield _cell(f"[{place}]", values[place] if there else None)
    if not places:
        yield Cell("", None, "")


def _cell(place: str, value: Any) -> Cell:
    if isinstance(value, bytes):
        return Cell(place, value, "")
    if isinstance(value, str):
        return Cell(place, None, value)
    fields: dict[str, Any] = value or {}
    return Cell(place, fields.get("bytes"), fields.get("path") or "")


# ---- features --------------------------------------------------------------------------------------


def _is_list(feature: Any) -> bool:
    return isinstance(feature, list) or (hasattr(feature, "feature") and not isinstance(feature.feature, dict))


def _inner(feature: Any) -> Any:
    if isinstance(feature, list):
        return cast("list[Any]", feature)[0]
    return feature.feature if _is_list(feature) else feature


def _is_image(feature: Any) -> bool:
    return type(feature).__name__ == "Image"


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", "") in ("string", "large_string")


def _may_hold_images(feature: Any) -> bool:
    if isinstance(feature, dict):
        return bool({"bytes", "path"} & set(cast("dict[str, Any]", feature)))
    is_bytes = getattr(feature, "dtype", "") in ("binary", "large_binary")
    return _is_image(feature) or _is_text(feature) or is_bytes
