"""Writers of the formats. Each is given the items shard by shard and keeps at most one shard's text in memory.

Each has `write(stem, items)`, called once per shard, and `close()`. The same items give the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple, Protocol

from ouro.core.files import write_json
from ouro.core.records import Image
from ouro.export.conversations import Conversation, ImageAnnotations, replace_placeholders
from ouro.export.rows import DATASET_INFO, Row, make_llava_row, make_ms_swift_row, make_sharegpt_row, messages

GROUP_BYTES = 64_000_000  # of pictures in one row group of a Parquet file


class ExportItem(NamedTuple):
    """One image to be written: `picture` is its file, `path` its name in the rows; `names`: region id -> what the
    annotator calls its main object, as far as it was asked."""

    about: ImageAnnotations
    conversations: Sequence[Conversation]
    picture: Path
    path: str
    names: Mapping[str, str] = MappingProxyType({})


class Writer(Protocol):
    def write(self, stem: str, items: Sequence[ExportItem]) -> None: ...

    def close(self) -> None: ...


class Lines:
    """JSONL, or one JSON array for a name that ends in .json, written line by line. Conversations with boxes can go
    to a second file, since readers expect the same columns in all rows of a file. Empty files are removed."""

    def __init__(
        self, folder: Path, row: Callable[[Conversation, Image, str], Row], name: str, with_boxes: str = ""
    ) -> None:
        self._row, self._array = row, name.endswith(".json")
        self._stack = ExitStack()
        self._paths = [folder / name, folder / with_boxes] if with_boxes else [folder / name]
        self._files = [self._open(path) for path in self._paths]
        self._first = True

    def _open(self, path: Path) -> IO[str]:
        return self._stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))

    def write(self, stem: str, items: Sequence[ExportItem]) -> None:
        for item in items:
            for conversation in item.conversations:
                row = self._row(conversation, item.about.image, item.path)
                text = json.dumps(row, ensure_ascii=False, allow_nan=False)
                before = ("[\n" if self._first else ",\n") if self._array else ""
                file = self._files[-1 if conversation.boxes else 0]
                file.write(before + text + "\n" * (not self._array))
                self._first = False

    def close(self) -> None:
        if self._array:
            self._files[0].write("[]\n" if self._first else "\n]\n")
        self._stack.close()
        for path in self._paths:
            if path.stat().st_size == 0:
                path.unlink()


class Parquet:
    """TRL and `datasets`: data/train-<shard>.parquet with `images` (decoded by `datasets`) and `messages`."""

    def __init__(self, folder: Path) -> None:
        from datasets import Features, Image, List, Value

        part = {"type": Value("string"), "text": Value("string")}
        turn = {"role": Value("string"), "content": List(part)}
        features = Features({"image_id": Value("string"), "images": List(Image()), "messages": List(turn)})
        self._schema: Any = features.arrow_schema
        self._folder = folder / "data"
        self._folder.mkdir()

    def write(self, stem: str, items: Sequence[ExportItem]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not items:
            return
        with pq.ParquetWriter(self._folder / f"train-{stem}.parquet", self._schema, compression="zstd") as file:
            rows: list[Row] = []
            size = 0
            for item in items:
                rows.append(_trl_row(item))
                size += item.picture.stat().st_size
                if size >= GROUP_BYTES or item is items[-1]:
                    file.write_table(pa.Table.from_pylist(rows, schema=self._schema))
                    rows, size = [], 0

    def close(self) -> None: ...


def _trl_row(item: ExportItem) -> Row:
    image = item.about.image
    picture = {"bytes": item.picture.read_bytes(), "path": item.picture.name}
    return {"image_id": image.image_id, "images": [picture], "messages": messages(item.conversations, image)}


class Tars:
    """WebDataset: <shard>.tar of <image id>.png and <image id>.json with all annotations of the image."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, stem: str, items: Sequence[ExportItem]) -> None:
        if not items:
            return
        with tarfile.open(self._folder / f"{stem}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for item in items:
                text = json.dumps(_webdataset_sample(item), ensure_ascii=False, allow_nan=False)
                _add_member(tar, f"{item.about.image.image_id}.png", item.picture.read_bytes())
                _add_member(tar, f"{item.about.image.image_id}.json", text.encode())

    def close(self) -> None: ...


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a member without date or owner, so that the same data gives the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _webdataset_sample(item: ExportItem) -> Row:
    image, regions, scene, _ = item.about
    conversations = [
        {"channel": c.channel, "turns": [turn._asdict() for turn in replace_placeholders(c, image)]}
        for c in item.conversations
    ]
    texts = dict(scene.region_texts)
    return {
        "image": asdict(image),
        "description": scene.text,
        "regions": [{**asdict(r), "description": texts.get(r.region_id, "")} for r in regions],
        "conversations": conversations,
    }


def _ms_swift(folder: Path) -> Writer:
    return Lines(folder, make_ms_swift_row, "train.jsonl", with_boxes="grounding.jsonl")


def _llava(folder: Path) -> Writer:
    return Lines(folder, make_llava_row, "train.json")


def _sharegpt(folder: Path) -> Writer:
    write_json(folder / "dataset_info.json", DATASET_INFO)
    return Lines(folder, make_sharegpt_row, "train.jsonl")


FORMATS: dict[str, Callable[[Path], Writer]] = {
    "ms-swift": _ms_swift, "llava": _llava, "sharegpt": _sharegpt, "trl": Parquet, "webdataset": Tars,
}  # fmt: skip
EMBEDDING_FORMATS = ("trl", "webdataset")  # pictures are stored inside the format's own files
