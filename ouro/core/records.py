"""The records that travel between stages, and their Arrow schemas.

All are frozen. Boxes are xyxy, half-open, in pixels of the (oriented) full image. Ids are strings:
an image id is the first 16 hex digits of the SHA-256 of the stored file, a region id is
"<image id>/<path>", where the path of the whole image is "0" and of its second child "0.1".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

Box = tuple[float, float, float, float]
KINDS = ("scene", "object", "text", "table", "chart")  # of regions; "scene" is the whole image
OPTIONAL = frozenset(["parent_id", "confidence"])  # columns that may be null


@dataclass(frozen=True, slots=True)
class Image:
    """One decoded, oriented image file of the collection (a row of data/images).

    `path` is relative to the shard's folder. `split` is "train" or "test".
    `captions` are original human captions of the collection, if it has any.
    """

    image_id: str
    path: str
    width: int
    height: int
    source: str
    split: str = "train"
    captions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Region:
    """A kept region of Algorithm 1. The whole image is the region of level 0 with parent None.

    `source` names the proposer ("image", "rpn", "ocr", joined by "+" when NMS fused several);
    `score` is its objectness or OCR confidence in 0..1; `text` what OCR read in it, else "";
    `kind` one of KINDS: what the annotator is asked depends on it.
    """

    region_id: str
    image_id: str
    parent_id: str | None
    level: int
    box: Box
    score: float
    source: str
    text: str = ""
    kind: str = "object"


@dataclass(frozen=True, slots=True)
class Description:
    """d_i = VLM(r_i), eq. 3: what the annotator said of one region, who said it, and to which prompt (its name)."""

    region_id: str
    image_id: str
    text: str
    annotator: str
    prompt: str = "own"


@dataclass(frozen=True, slots=True)
class Insertion:
    """Provenance of a merge: characters [start, end) of Scene.text came from region `region_id`."""

    start: int
    end: int
    region_id: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """Characters [start, end) of Scene.text are one sentence; it tells of these regions, in order of appearance."""

    start: int
    end: int
    region_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a merge left out or settled: `kind` is "contradiction", "redundancy" or "budget".

    `text` is what `region_id` had said and the scene does not; `rule` names the rule that decided.
    """

    kind: str
    region_id: str
    text: str
    rule: str


@dataclass(frozen=True, slots=True)
class Scene:
    """d^(0) of one image (eq. 4): the merged hierarchical description, with provenance.

    `region_texts` holds the merged description of every region (region_id -> text), the targets of L_desc.
    `tree` is the hierarchy as JSON: {"region_id", "kind", "box", "position", "description",
    "children": [...]}.
    """

    image_id: str
    text: str
    insertions: tuple[Insertion, ...]
    region_texts: tuple[tuple[str, str], ...]
    sentences: tuple[Sentence, ...] = ()
    decisions: tuple[Decision, ...] = ()
    tree: str = ""


@dataclass(frozen=True, slots=True)
class QAPair:
    """One question-answer pair (eq. 5). `aspect` is one of ouro.annotate.prompts.ASPECTS.

    `confidence`: agreement in 0..1 of `answer` with what the model answers from the image alone; None: not asked.
    """

    qa_id: str
    image_id: str
    aspect: str
    question: str
    answer: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A dropped record: which, at which stage, why (a snake_case reason) and in detail."""

    stage: str
    record_id: str
    reason: str
    detail: str = ""


def training_images(images: Iterable[Image]) -> list[Image]:
    """Those that are annotated and trained on: split "train"."""
    return [image for image in images if image.split == "train"]


def regions_of(images: Iterable[Image], regions: Iterable[Region]) -> list[Region]:
    """The regions of these images."""
    image_ids = {image.image_id for image in images}
    return [region for region in regions if region.image_id in image_ids]


class Record(Protocol):
    """Any of the dataclasses above."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=Record)


def to_row(record: Record) -> dict[str, Any]:
    """A record as a plain dict of Arrow-compatible values."""
    row = asdict(record)
    if isinstance(record, Scene):
        row["region_texts"] = [{"region_id": r, "text": t} for r, t in record.region_texts]
    return row


def from_row(kind: type[R], row: Mapping[str, Any]) -> R:
    """The inverse of `to_row`. Raises KeyError when a column is missing."""
    values: dict[str, Any] = {f.name: row[f.name] for f in fields(kind)}
    if kind is Image:
        values["captions"] = tuple(values["captions"])
    elif kind is Region:
        values["box"] = tuple(values["box"])
    elif kind is Scene:
        values["insertions"] = tuple(Insertion(**i) for i in values["insertions"])
        values["sentences"] = tuple(Sentence(t["start"], t["end"], tuple(t["region_ids"])) for t in values["sentences"])
        values["decisions"] = tuple(Decision(**d) for d in values["decisions"])
        values["region_texts"] = tuple((t["region_id"], t["text"]) for t in values["region_texts"])
    return kind(**values)


def schema(kind: type[Any]) -> pa.Schema:
    """The Arrow schema of a record type; raises KeyError for a type that is never stored."""
    import pyarrow as pa

    s, i, f = pa.string(), pa.int32(), pa.float64()
    strings = {
        Description: ["region_id", "image_id", "text", "annotator", "prompt"],
        Rejected: ["stage", "record_id", "reason", "detail"],
    }
    if kind in strings:
        return pa.schema([pa.field(n, s, nullable=False) for n in strings[kind]])
    texts = pa.struct([pa.field("region_id", s), pa.field("text", s)])
    span = pa.struct([pa.field("start", i), pa.field("end", i), pa.field("region_id", s)])
    sentence = pa.struct([pa.field("start", i), pa.field("end", i), pa.field("region_ids", pa.list_(s))])
    decision = pa.struct([pa.field(n, s) for n in ("kind", "region_id", "text", "rule")])
    columns = {
        Image: [
            ("image_id", s), ("path", s), ("width", i), ("height", i), ("source", s), ("split", s),
            ("captions", pa.list_(s)),
        ],
        Region: [
            ("region_id", s), ("image_id", s), ("parent_id", s), ("level", i), ("box", pa.list_(f, 4)),
            ("score", f), ("source", s), ("text", s), ("kind", s),
        ],
        Scene: [
            ("image_id", s), ("text", s), ("insertions", pa.list_(span)), ("region_texts", pa.list_(texts)),
            ("sentences", pa.list_(sentence)), ("decisions", pa.list_(decision)), ("tree", s),
        ],
        QAPair: [
            ("qa_id", s), ("image_id", s), ("aspect", s), ("question", s), ("answer", s), ("confidence", f),
        ],
    }  # fmt: skip
    return pa.schema([pa.field(n, t, nullable=n in OPTIONAL) for n, t in columns[kind]])
