"""What a run of benchmarks leaves on disk, and two of them compared.

RUN/run.json                       which model answered, and how
RUN/<benchmark>/predictions.jsonl  {"question_id", "prediction"} a line: what `ouro score` reads
RUN/<benchmark>/samples.parquet    item_id, image, kind, readable, and "<figure>.top", "<figure>.bottom": what each
                                   reply adds to the two sums of each figure (ouro.benchmarks.ratios)
RUN/<benchmark>/scores.json        the figures with n and 95% interval, and the controls
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ouro.benchmarks.intervals import Estimate
from ouro.benchmarks.items import BenchmarkFileError
from ouro.benchmarks.ratios import Difference, Ratios, differences
from ouro.benchmarks.scored import Samples, Score
from ouro.core.artifacts import write_bytes, write_json

RUN, SCORES, SAMPLES, PREDICTIONS = "run.json", "scores.json", "samples.parquet", "predictions.jsonl"
_KEYS = ("benchmark", "title", "split", "protocol", "reported", "macro", "points", "figures")  # of SCORES, read back


def check_folder(folder: Path) -> None:
    """Raises BenchmarkFileError where nothing can be written into a folder, since a file has its name."""
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise BenchmarkFileError(f"--out {folder}: {place} is a file, expected a folder or a new name")
            return


def write_score(folder: Path, made: Score, samples: Samples) -> None:
    """Write samples.parquet and scores.json into a benchmark's folder; the scores last."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "item_id": samples.ids, "image": samples.images, "kind": samples.kinds,
        "readable": np.asarray(samples.readable, dtype=bool),
    }  # fmt: skip
    for name in samples.names:
        columns[f"{name}.top"], columns[f"{name}.bottom"] = samples.figure(name)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_bytes(folder / SAMPLES, sink.getvalue().to_pybytes())
    write_json(folder / SCORES, made.to_json())


@dataclass(frozen=True)
class ScoredFolder:
    """One benchmark of a run, read back."""

    label: str
    scores: dict[str, Any]
    samples: Samples

    @property
    def name(self) -> str:
        return str(self.scores["benchmark"])

    @property
    def reported(self) -> Estimate:
        """The figure that tables of papers show, on a scale of 1."""
        return reported(self.scores)


def reported(scores: dict[str, Any]) -> Estimate:
    """The figure that tables of papers show, on a scale of 1, of a scores.json."""
    which = "macro" if scores["macro"] else "micro"
    return Estimate.from_json(scores["figures"][scores["reported"]][which])


def read_run(folder: Path, label: str = "") -> dict[str, ScoredFolder]:
    """The benchmarks of a run by name; a folder of one benchmark is a run of one.

    Raises BenchmarkFileError for a folder without scores, or with two of one benchmark, and for files that are damaged.
    """
    places, said = scored_folders(folder), label or str(read_about(folder)["label"])
    made = [ScoredFolder(said, read_scores(place / SCORES), _samples(place / SAMPLES)) for place in places]
    check_once(places, [one.name for one in made])
    return {one.name: one for one in made}


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
    known: dict[str, Path] = {}
    for place, name in zip(places, names, strict=True):
        first = known.setdefault(name, place)
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
    made: list[str] = []
    for about in map(read_about, folders):
        label, k = str(about["label"]), f", k = {about.get('k')}"
        made.append(label if about.get("k") is None or label.endswith(k) else label + k)
    return [
        f"{label} ({folder})" if made.count(label) > 1 else label for folder, label in zip(folders, made, strict=True)
    ]


def read_scores(path: Path) -> dict[str, Any]:
    """What scores.json says. Raises BenchmarkFileError where it lacks what `write_score` writes."""
    made = read_object(path)
    absent = [key for key in _KEYS if key not in made]
    if absent:
        raise BenchmarkFileError(f"{path}: got no {', '.join(absent)}; run the benchmark again")
    return made


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
    names = tuple(name.removesuffix(".top") for name in table.column_names if name.endswith(".top"))
    columns = [f"{name}.{end}" for name in names for end in ("top", "bottom")]
    parts = [array("d", table[name].to_numpy().tobytes()) for name in columns]
    return Samples(names, ids, images, kinds, readable, parts)


@dataclass(frozen=True, slots=True)
class Compared:
    """Second minus first on one benchmark: the reported figure by kind, over all and as the mean of the kinds."""

    benchmark: str
    title: str
    figure: str
    macro: bool
    points: float
    first: float
    second: float
    gains: Ratios[Difference]

    @property
    def reported(self) -> Difference:
        return self.gains.macro if self.macro else self.gains.micro

    def to_json(self) -> dict[str, Any]:
        kinds = {kind: gain.to_json() for kind, gain in self.gains.kinds.items()}
        both = {"micro": self.gains.micro.to_json(), "macro": self.gains.macro.to_json(), "kinds": kinds}
        return {
            "benchmark": self.benchmark, "title": self.title, "figure": self.figure, "macro": self.macro,
            "points": self.points, "first": self.first, "second": self.second, "difference": both,
        }  # fmt: skip


def compare_runs(
    first: dict[str, ScoredFolder], second: dict[str, ScoredFolder], *, seed: int, resamples: int
) -> list[Compared]:
    """Paired differences on every benchmark that both runs have.

    Raises BenchmarkFileError when they share none, or were asked other questions or judged by another protocol.
    """
    shared = [name for name in first if name in second]
    if not shared:
        raise BenchmarkFileError(f"the runs share no benchmark: got {', '.join(first)} and {', '.join(second)}")
    return [_compared(first[name], second[name], seed, resamples) for name in shared]


def _compared(a: ScoredFolder, b: ScoredFolder, seed: int, resamples: int) -> Compared:
    _check_paired(a, b)
    name, macro = str(a.scores["reported"]), bool(a.scores["macro"])
    place = {item_id: i for i, item_id in enumerate(b.samples.ids)}
    order = np.asarray([place[item_id] for item_id in a.samples.ids])
    tops, bottoms = b.samples.figure(name)
    gains = differences(
        a.samples.figure(name), (tops[order], bottoms[order]), a.samples.images, a.samples.kinds,
        seed=seed, resamples=resamples,
    )  # fmt: skip
    which = "macro" if macro else "micro"
    values = [float(one.scores["figures"][name][which]["value"]) for one in (a, b)]
    title, points = str(a.scores["title"]), float(a.scores["points"])
    return Compared(a.name, title, name, macro, points, values[0], values[1], gains)


def _check_paired(a: ScoredFolder, b: ScoredFolder) -> None:
    for key in ("protocol", "split", "reported"):
        if a.scores[key] != b.scores[key]:
            raise BenchmarkFileError(
                f"{a.scores['title']}: {key} is {a.scores[key]!r} in {a.label} and {b.scores[key]!r} in {b.label}; "
                "score both alike"
            )
    apart = sorted(set(a.samples.ids) ^ set(b.samples.ids))
    if apart:
        raise BenchmarkFileError(
            f"{a.scores['title']}: {len(apart)} questions stand in one run only ({', '.join(apart[:5])}); ask both "
            "models the same, with the same --limit"
        )
