"""What people corrected in Label Studio, out of its JSON export (https://labelstud.io/guide/export, format JSON).

A task is one image, as `ouro export --format label-studio` wrote it: `data.ouro` says what was shown. Of its
annotations that were not skipped the last one counts, by `updated_at`. In it a text that differs from the one shown
is a corrected description, a moved rectangle a corrected box, and a rectangle that is gone a removed region.

Every shown region and every task ends as one of OUTCOMES:

    corrected       it goes into the layer
    unchanged       as it was shown, or in the layer already: the same file twice changes nothing
    taken_back      the model's own words stand again: its correction is removed from the layer
    stale           the dataset's words or box are no longer those that were shown
    unknown         the dataset has no such region (or, of a task, no such image)
    no_box          a rectangle that was turned, or that has no area in the image, is no box
    drawn           a rectangle that people added: regions are the proposers', so it is left out
    not_annotated   a task that nobody has annotated, or only skipped
    blank           an annotation with nothing that was shown: nobody began with the prediction
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from ouro.core.corrections import BOX, DESCRIPTION, KEPT, REGION, Correction, format_box, is_whole, parse_box
from ouro.core.errors import OuroError
from ouro.core.json_text import parse_json
from ouro.export.label_studio import CAPTION, KIND, TEXT, digest_words

OUTCOMES = (
    "corrected", "unchanged", "taken_back", "stale", "unknown", "no_box", "drawn", "not_annotated", "blank",
)  # fmt: skip
NO_BOX = "no_box"
_SAME = 0.5  # pixels that a side may differ by in a box that nobody moved: it went through per cent
Values = Mapping[tuple[str, str], str]  # (region id, field) -> its value


class ReviewError(OuroError, ValueError):
    """A file of corrections that cannot be taken in: what, got, expected, fix."""


@dataclass
class Review:
    """The layer as a file of corrections leaves it, and how many regions and tasks ended how."""

    corrections: dict[tuple[str, str], Correction]
    counts: Counter[str] = field(default_factory=Counter[str])


class ShownTask(NamedTuple):
    """One task: the image, its sides in pixels, what was shown of each region, and the annotation that counts."""

    image_id: str
    width: float
    height: float
    shown: Mapping[str, Mapping[str, Any]]
    annotation: Mapping[str, Any] | None


def read_tasks(file: Path) -> list[ShownTask]:
    """The tasks of a Label Studio export. Raises ReviewError for a file that is something else."""
    try:
        tasks: Any = parse_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ReviewError(f"--from {file}: cannot be read as JSON ({error}); {_EXPECTED}") from error
    if not isinstance(tasks, list) or not tasks:
        raise ReviewError(f"--from {file}: got {type(tasks).__name__} without tasks; {_EXPECTED}")
    return [_read_task(file, number, task) for number, task in enumerate(cast("list[Any]", tasks), start=1)]


_EXPECTED = (
    "expected a JSON export of Label Studio (Export, JSON; not JSON-MIN) of tasks that `ouro export --format "
    "label-studio` wrote"
)


def _read_task(file: Path, number: int, task: Any) -> ShownTask:
    try:
        about = task["data"]["ouro"]
        shown = {str(region_id): dict(values) for region_id, values in about["regions"].items()}
        sides = float(about["width"]), float(about["height"])
        annotations = task["annotations"]
        return ShownTask(str(about["image_id"]), *sides, shown, _choose_annotation(annotations))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReviewError(f"--from {file}: task {number} lacks {error!r}; {_EXPECTED}") from error


def _choose_annotation(annotations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The last one that was not skipped."""
    finished = [a for a in annotations if not a.get("was_cancelled")]
    return max(finished, key=lambda a: (str(a.get("updated_at", "")), str(a.get("id", ""))), default=None)


# ---- one task ------------------------------------------------------------------------------------


def review_tasks(tasks: Sequence[ShownTask], model: Values, corrections: Sequence[Correction]) -> Review:
    """Take the annotations of `tasks` into a layer. `model`: the stages' own values. Raises ReviewError."""
    review = Review({(c.region_id, c.field): c for c in corrections})
    images = {region_id.split("/")[0] for region_id, _ in model}
    for task in tasks:
        if task.image_id not in images:
            review.counts["unknown"] += 1
        elif task.annotation is None:
            review.counts["not_annotated"] += 1
        else:
            try:
                _review_annotation(task, task.annotation, model, review)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ReviewError(f"--from: the annotation of image {task.image_id}: {error!r}; {_EXPECTED}") from error
    return review


class _Answer(NamedTuple):
    """What an annotation says of a region: its text, its rectangle as pixels, whether that is a box."""

    text: str = ""
    box: tuple[float, float, float, float] | None = None
    is_box: bool = True


def _review_annotation(task: ShownTask, annotation: Mapping[str, Any], model: Values, review: Review) -> None:
    answers = _read_answers(annotation.get("result") or [], task)
    if not set(answers) & set(task.shown):
        review.counts["blank"] += 1
        return
    review.counts["drawn"] += sum(a.box is not None for key, a in answers.items() if key not in task.shown)
    by = _name_annotator(annotation.get("completed_by"))
    for region_id, shown in task.shown.items():
        outcomes = [
            _take(Correction(region_id, name, "", new, by), old, model, review)
            for name, old, new in _compare(region_id, shown, answers.get(region_id))
        ]
        review.counts.update([next((o for o in _STRONGEST if o in outcomes), "unchanged")])


_STRONGEST = ("unknown", "stale", "no_box", "corrected", "taken_back")  # of a region's several fields the first counts


def _read_answers(results: Sequence[Mapping[str, Any]], task: ShownTask) -> dict[str, _Answer]:
    answers: dict[str, _Answer] = {}
    for result in results:
        key, value = str(result.get("id", "")).split("#")[0], result.get("value") or {}
        answer = answers.get(key, _Answer())
        tag = result.get("from_name")
        if tag in (TEXT, CAPTION):
            key = key if tag == TEXT else f"{task.image_id}/0"
            answers[key] = answers.get(key, _Answer())._replace(text=_join_text(value.get("text")))
        elif tag == KIND:
            box = _to_pixels(value, task)
            is_box = not value.get("rotation") and box[0] < box[2] and box[1] < box[3]
            answers[key] = answer._replace(box=box, is_box=is_box)
    return answers


def _join_text(text: Any) -> str:
    """A TextArea holds a list of texts, or one text where it may hold no more."""
    lines = [text] if isinstance(text, str) else text or []
    return "\n".join(str(line) for line in lines).strip()


def _to_pixels(value: Mapping[str, Any], task: ShownTask) -> tuple[float, float, float, float]:
    """The part of a rectangle that lies in the image."""
    x, y, width, height = (float(value[key]) / 100 for key in ("x", "y", "width", "height"))
    return (
        max(0.0, x * task.width), max(0.0, y * task.height),
        min(task.width, (x + width) * task.width), min(task.height, (y + height) * task.height),
    )  # fmt: skip


def _name_annotator(completed_by: Any) -> str:
    """Label Studio's number of a person, or, where the export holds more, the address."""
    if isinstance(completed_by, Mapping):
        person = cast("Mapping[str, Any]", completed_by)
        return str(person.get("email") or person.get("id") or "")
    return "" if completed_by is None else str(completed_by)


def _compare(region_id: str, shown: Mapping[str, Any], answer: _Answer | None) -> Iterator[tuple[str, str, str]]:
    """(field, digest or value that was shown, new value) for what differs from what was shown."""
    if answer is None or (answer.box is None and not is_whole(region_id)):
        field_name, new = (DESCRIPTION, "") if is_whole(region_id) else (REGION, "")
        yield field_name, str(shown["words"]) if is_whole(region_id) else KEPT, new
        return
    if answer.text != str(shown["shown"]).strip():
        yield DESCRIPTION, str(shown["words"]), answer.text
    if answer.box is not None and not answer.is_box:
        yield NO_BOX, "", ""
    elif answer.box is not None:
        before = [float(side) for side in shown["box"]]
        if any(abs(a - b) > _SAME for a, b in zip(answer.box, before, strict=True)):
            yield BOX, format_box((before[0], before[1], before[2], before[3])), format_box(answer.box)


def _take(correction: Correction, shown: str, model: Values, review: Review) -> str:
    """Take one difference into the layer; its outcome."""
    key = correction.region_id, correction.field
    if correction.field == NO_BOX:
        return NO_BOX
    if key not in model:
        return "unknown"
    own, layer = model[key], review.corrections.get(key)
    current = layer.new if layer and layer.old == own else own
    if _is_same(correction.field, current, correction.new):
        return "unchanged"
    if not any(_was_shown(correction.field, value, shown) for value in (current, own)):
        return "stale"
    if _is_same(correction.field, own, correction.new):
        del review.corrections[key]
        return "taken_back"
    review.corrections[key] = Correction(correction.region_id, correction.field, own, correction.new, correction.by)
    return "corrected"


def _is_same(field_name: str, value: str, other: str) -> bool:
    if field_name != BOX:
        return value.strip() == other.strip()
    return all(abs(a - b) <= _SAME for a, b in zip(parse_box(value), parse_box(other), strict=True))


def _was_shown(field_name: str, value: str, shown: str) -> bool:
    """Whether a value of the dataset is the one that the task says it showed."""
    if field_name == DESCRIPTION:
        return digest_words(value) == shown
    return _is_same(field_name, value, shown) if field_name == BOX else True
