"""A file of predictions to score, and the cases of benchmark_cases.py by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmark_cases import CASES

NAMED_CASES = {f"{case.name}: {case.files[0]}": case for case in CASES}


def predictions(path: Path, replies: Mapping[str, str | None], key: str = "question_id") -> Path:
    """Write one JSON line a question, as `ouro score` reads them."""
    path.write_text("".join(json.dumps({key: name, "prediction": reply}) + "\n" for name, reply in replies.items()))
    return path
