"""The records that travel between stages, and their Arrow schemas.

All are frozen. Boxes are xyxy, half-open, in pixels of the (oriented) full image. Ids are strings:
an image id is the first 16 hex digits of the SHA-256 of the stored file, a region id is
"<image id>/<path>", where the path of the whole image is "0" and of its second child "0.1".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

Box = tuple[float, float, float, float]
KINDS = ("scene", "object", "text", "table", "chart")  # of regions; "scene" is the whole image
OPTIONAL = frozenset(["parent_id", "confidence", "support", "mean_probability", "min_probability"])  # may be null


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
class Mark:
    """Characters [start, end) of a description that composing may leave out, and why.

    `kind`: "lead_in" ("The image shows a close-up of"), "frame" (true of the crop alone: "partially visible"),
    "guess" ("possibly a cat or a dog") or "filler" ("the overall atmosphere suggests a workshop").
    """

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Description:
    """d_i = VLM(r_i), eq. 3: what the annotator said of one region, who said it, and to which prompt (its name).

    `name` is what the annotator calls the region's main object ("" where it was not asked or did not say);
    `mean_probability` and `min_probability` are those of the text's tokens, in 0..1 (None: the backend gives none).
    """

    region_id: str
    image_id: str
    text: str
    annotator: str
    prompt: str = "own"
    name: str = ""
    mean_probability: float | None = None
    min_probability: float | None = None
    marks: tuple[Mark, ...] = ()


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
class Match:
    """A region's object, found in another region's description (object-name matching, OURO section 3.1).

    Characters [start, end) of the description of `parent_id` mean the object of `region_id`: "same" (just this
    object), "among" (a group of which it is one) or "part" (the whole that it is a part of). `evidence` names what
    decided, e.g. "head", "synonym", "place"; `score` in 0..1 says how sure.
    """

    region_id: str
    parent_id: str
    start: int
    end: int
    how: str
    evidence: str
    score: float


CLOSE_UP: Final = "close_up_tells_looks"  # rules of a Conflict that nobody looked at
WHOLE: Final = "whole_tells_numbers_places_times"


@dataclass(frozen=True, slots=True)
class Conflict:
    """What two or more regions tell differently of one object.

    `kind`: "colour", "number", "material", "kind", "text" or "attribute"; `about` names the object and what of it;
    `values` are in the order of `region_ids`; `kept` is the value that stands ("" while it is open) and `rule` what
    decided.
    """

    kind: str
    about: str
    region_ids: tuple[str, ...]
    values: tuple[str, ...]
    kept: str = ""
    rule: str = ""


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
    matches: tuple[Match, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True)
class QAPair:
    """One question-answer pair (eq. 5). `aspect` is one of ouro.annotate.prompts.ASPECTS.

    `support`: how sure it is that the description supports the pair, in 0..1; `confidence`: agreement in 0..1 of
    `answer` with what the model answers from the image alone. None: not asked.
    """

    qa_id: str
    image_id: str
    aspect: str
    question: str
    answer: str
    confidence: float | None = None
    support: float | None = None


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
        values["matches"] = tuple(Match(**m) for m in values["matches"])
        values["conflicts"] = tuple(
            Conflict(**{**c, "region_ids": tuple(c["region_ids"]), "values": tuple(c["values"])})
            for c in values["conflicts"]
        )
    elif kind is Description:
        values["marks"] = tuple(Mark(**m) for m in values["marks"])
    return kind(**values)


def schema(kind: type[Any]) -> pa.Schema:
    """The Arrow schema of a record type; raises KeyError for a type that is never stored."""
    import pyarrow as pa

    s, i, f = pa.string(), pa.int32(), pa.float64()
    texts = pa.struct([pa.field("region_id", s), pa.field("text", s)])
    span = pa.struct([pa.field("start", i), pa.field("end", i), pa.field("region_id", s)])
    sentence = pa.struct([pa.field("start", i), pa.field("end", i), pa.field("region_ids", pa.list_(s))])
    decision = pa.struct([pa.field(n, s) for n in ("kind", "region_id", "text", "rule")])
    mark = pa.struct([pa.field("start", i), pa.field("end", i), pa.field("kind", s)])
    match = pa.struct(
        [("region_id", s), ("parent_id", s), ("start", i), ("end", i), ("how", s), ("evidence", s), ("score", f)]
    )
    conflict = pa.struct(
        [("kind", s), ("about", s), ("region_ids", pa.list_(s)), ("values", pa.list_(s)), ("kept", s), ("rule", s)]
    )
    columns = {
        Image: [
            ("image_id", s), ("path", s), ("width", i), ("height", i), ("source", s), ("split", s),
            ("captions", pa.list_(s)),
        ],
        Region: [
            ("region_id", s), ("image_id", s), ("parent_id", s), ("level", i), ("box", pa.list_(f, 4)),
            ("score", f), ("source", s), ("text", s), ("kind", s),
        ],
        Description: [
            ("region_id", s), ("image_id", s), ("text", s), ("annotator", s), ("prompt", s), ("name", s),
            ("mean_probability", f), ("min_probability", f), ("marks", pa.list_(mark)),
        ],
        Rejected: [("stage", s), ("record_id", s), ("reason", s), ("detail", s)],
        Scene: [
            ("image_id", s), ("text", s), ("insertions", pa.list_(span)), ("region_texts", pa.list_(texts)),
            ("sentences", pa.list_(sentence)), ("decisions", pa.list_(decision)), ("tree", s),
            ("matches", pa.list_(match)), ("conflicts", pa.list_(conflict)),
        ],
        QAPair: [
            ("qa_id", s), ("image_id", s), ("aspect", s), ("question", s), ("answer", s), ("confidence", f),
            ("support", f),
        ],
    }  # fmt: skip
    return pa.schema([pa.field(n, t, nullable=n in OPTIONAL) for n, t in columns[kind]])
