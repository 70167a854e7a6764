"""What a run of benchmarks leaves on disk.

RUN/run.json                       which model answered, and how
RUN/<benchmark>/predictions.jsonl  {"question_id", "prediction"} a line: what `ouro score` reads
RUN/<benchmark>/shuffled.jsonl     the same of other pictures
RUN/<benchmark>/samples.parquet    item_id, image, kind, readable, and "<figure>.top", "<figure>.bottom": what each
                                   reply adds to the two sums of each figure (ouro.benchmarks.ratios); of the controls
                                   "constant:<figure>.top" and so on, and other_image, which SHUFFLED was shown
RUN/<benchmark>/scores.json        the figures with n and 95% interval, the controls, and the grounded margin
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.scored import CONSTANT, SHUFFLED, Samples, Score
from ouro.core.artifacts import write_bytes, write_json

if TYPE_CHECKING:
    import pyarrow as pa

RUN, SCORES, SAMPLES, PREDICTIONS = "run.json", "scores.json", "samples.parquet", "predictions.jsonl"
OTHER_PREDICTIONS = "shuffled.jsonl"
_KEYS = ("benchmark", "title", "split", "protocol", "reported", "macro", "points", "figures")  # of SCORES, read back


def check_folder(folder: Path) -> None:
    """Raises BenchmarkFileError where nothing can be written into a folder, since a file has its name."""
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise BenchmarkFileError(f"--out {folder}: {place} is a file, expected a folder or a new name")
            return


def write_score(folder: Path, score: Score, samples: Samples) -> None:
    """Write samples.parquet and scores.json into a benchmark's folder; the scores last."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "item_id": samples.ids, "image": samples.images, "kind": samples.kinds,
        "readable": np.asarray(samples.readable, dtype=bool),
    }  # fmt: skip
    if samples.other_images:
        columns["other_image"] = samples.other_images
    for control in ("", *samples.controls):
        for name in samples.names:
            column = f"{control}:{name}" if control else name
            columns[f"{column}.top"], columns[f"{column}.bottom"] = samples.figure(name, control)
    _write_table(folder / SAMPLES, pa.table(columns))
    write_json(folder / SCORES, score.to_json())


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of equal keys as a Parquet file."""
    import pyarrow as pa

    _write_table(path, pa.Table.from_pylist(list(rows)))


def _write_table(path: Path, table: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


@dataclass(frozen=True)
class ScoredFolder:
    """One benchmark of a run, read back."""

    label: str
    scores: dict[str, Any]
    samples: Samples
    k: int = 0

    @property
    def name(self) -> str:
        return str(self.scores["benchmark"])

    @property
    def reported(self) -> Estimate:
        """The figure that tables of papers show, on a scale of 1."""
        return reported(self.scores)


def reported(scores: dict[str, Any]) -> Estimate:
    """The figure that tables of papers show, on a scale of 1, of a scores.json."""
    return Estimate.from_json(scores["figures"][scores["reported"]]["macro" if scores["macro"] else "micro"])


def read_run(folder: Path, label: str = "") -> dict[str, ScoredFolder]:
    """The benchmarks of a run by name; a folder of one benchmark is a run of one.

    Raises BenchmarkFileError for a folder without scores, or with two of one benchmark, and for files that are damaged.
    """
    places, about = scored_folders(folder), read_about(folder)
    label, k = label or str(about["label"]), int(about.get("k") or 0)
    runs = [ScoredFolder(label, read_scores(place / SCORES), _samples(place / SAMPLES), k) for place in places]
    check_once(places, [run.name for run in runs])
    return {run.name: run for run in runs}


def scored_folders(folder: Path) -> list[Path]:
    """The folders of a run that hold scores. Raises BenchmarkFileError where there is none."""
    places = [folder] if (folder / SCORES).is_file() else sorted(p.parent for p in folder.glob(f"*/{SCORES}"))
    if not places:
        raise BenchmarkFileError(
            f"{folder}: got no {SCORES} in it or in its folders, expected what `ouro benchmark` or `ouro score --out` "
            "writes"
        )
    return places


def check_once(places: Sequence[Path], names: Sequence[str]) -> None:
    """Raises BenchmarkFileError where two folders of one run hold scores of one benchmark: which is meant?"""
    folders: dict[str, Path] = {}
    for place, name in zip(places, names, strict=True):
        first = folders.setdefault(name, place)
        if first != place:
            raise BenchmarkFileError(
                f"{place.parent}: {first.name} and {place.name} both hold scores of {name}, expected one run; name "
                "each of them by itself"
            )


def read_about(folder: Path) -> dict[str, Any]:
    """What run.json says, `label` always among it: the model that answered, or the folder's name."""
    run = read_object(folder / RUN) if (folder / RUN).is_file() else {}
    return {**run, "label": f"{run.get('label') or run.get('model', folder.name)}"}


def labels(folders: Sequence[Path]) -> list[str]:
    """A label of its own for each run: the model, with k; with its folder where that of another is the same."""
    names: list[str] = []
    for about in map(read_about, folders):
        label, k = str(about["label"]), f", k = {about.get('k')}"
        names.append(label if about.get("k") is None or label.endswith(k) else label + k)
    return [
        f"{label} ({folder})" if names.count(label) > 1 else label for folder, label in zip(folders, names, strict=True)
    ]


def read_scores(path: Path) -> dict[str, Any]:
    """What scores.json says. Raises BenchmarkFileError where it lacks what `write_score` writes."""
    scores = read_object(path)
    absent = [key for key in _KEYS if key not in scores]
    if absent:
        raise BenchmarkFileError(f"{path}: got no {', '.join(absent)}; run the benchmark again")
    return scores


def read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object. Raises BenchmarkFileError for anything else."""
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BenchmarkFileError(f"{path}: not valid JSON ({error}); run the benchmark again") from error
    if not isinstance(value, dict):
        raise BenchmarkFileError(f"{path}: got {type(value).__name__}, expected an object; run the benchmark again")
    return cast("dict[str, Any]", value)


def _samples(path: Path) -> Samples:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        ids, images, kinds = (cast("list[str]", table[name].to_pylist()) for name in ("item_id", "image", "kind"))
        readable = array("b", table["readable"].to_pylist())
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise BenchmarkFileError(f"{path}: cannot be read ({error}); run the benchmark again") from error
    columns = [name.removesuffix(".top") for name in table.column_names if name.endswith(".top")]
    names = tuple(name for name in columns if ":" not in name)

    def parts(prefix: str) -> list[array[float]]:
        sums = [f"{prefix}{name}.{end}" for name in names for end in ("top", "bottom")]
        return [array("d", table[column].to_numpy().tobytes()) for column in sums]

    control_names = dict.fromkeys(name.split(":")[0] for name in columns if ":" in name)
    controls = {control: parts(f"{control}:") for control in control_names}
    others = cast("list[str]", table["other_image"].to_pylist()) if "other_image" in table.column_names else []
    return Samples(names, ids, images, kinds, readable, parts(""), controls, others)


def prediction_rows(run: ScoredFolder, folder: Path, items: Iterable[Item]) -> Iterator[dict[str, Any]]:
    """One row a question of a run of VQA: what the model said about its picture and about another one (None where it
    was not asked), with scores in 0..1. `folder`: the benchmark's, which holds the replies."""
    items_by_id = {item.item_id: item for item in items}
    replies, other = (_replies(folder / name) for name in (PREDICTIONS, OTHER_PREDICTIONS))
    samples = run.samples
    scores, wrong, constant = (_scores(samples, control) for control in ("", SHUFFLED, CONSTANT))
    for i, item in enumerate(items_by_id[item_id] for item_id in samples.ids):
        yield {
            "model": run.label, "arm": "image+regions" if run.k else "image", "question_id": int(item.item_id),
            "image_id": item.image, "question_type": item.kind, "question": item.question,
            "truth": max(item.references, key=item.references.count), "answer": replies.get(item.item_id),
            "score": scores[i], "wrong_image_id": samples.other_images[i] if samples.other_images else None,
            "wrong_answer": other.get(item.item_id), "wrong_score": wrong[i], "majority_score": constant[i],
        }  # fmt: skip


def _scores(samples: Samples, control: str) -> list[Any]:
    """Of every question, under a control or none; None where the control was not made."""
    if control and control not in samples.controls:
        return [None] * len(samples)
    return samples.figure(samples.names[0], control)[0].tolist()


def _replies(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)
    return {row["question_id"]: row["prediction"] for row in rows}
