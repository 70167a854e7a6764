"""What a person does in Label Studio with the tasks of `ouro export`: its JSON export, by its documentation
(https://labelstud.io/guide/export, JSON). An annotation begins as a copy of the prediction."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def annotate(tasks: Path, file: Path) -> list[dict[str, Any]]:
    """The tasks, each with one annotation that took the prediction as it is; written to `file` by `save`."""
    exported: list[dict[str, Any]] = []
    for number, task in enumerate(json.loads(tasks.read_text()), start=1):
        result = copy.deepcopy(task["predictions"][0]["result"])
        annotation = {
            "id": 100 + number, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False,
            "created_at": "2026-11-01T10:00:00.000000Z", "updated_at": "2026-11-01T10:05:00.000000Z", "task": number,
        }  # fmt: skip
        exported.append({"id": number, "annotations": [annotation], "data": task["data"], "project": 1})
    save(exported, file)
    return exported


def save(exported: list[dict[str, Any]], file: Path) -> None:
    file.write_text(json.dumps(exported))


def results_of(exported: list[dict[str, Any]], image_id: str) -> list[Result]:
    """The results of an image's annotation, to be changed."""
    return next(t["annotations"][0]["result"] for t in exported if t["data"]["ouro"]["image_id"] == image_id)


def find(results: list[Result], region_id: str, kind: str) -> Result:
    return next(r for r in results if r["id"] == region_id and r["type"] == kind)
