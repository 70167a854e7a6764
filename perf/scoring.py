"""Scoring a million VQAv2 predictions: `uv run python perf/scoring.py [--questions 1000000]`.

The annotations (ten answers each, drawn from a vocabulary in which few words are frequent, as in VQAv2) and the
predictions are written to a temporary folder, record by record, and scored by cli.score.run in a process of its own:
seconds, CPU seconds by phase (others may be at work on the machine), and peak memory. In the same run, for a tenth of
them and each in a process of its own: the same; the same without the memory of normal forms
(ouro/benchmarks/scoring/vqa.py); and the baseline, what a script does that reads both files into dicts and adds up
soft_accuracy, whose memory grows with the files. Exit code 1 when the scores differ.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS, ANNOTATIONS, PREDICTIONS = "questions.json", "annotations.json", "predictions.jsonl"
WORDS = 5000
KINDS = ("yes/no", "number", "other")


def write(folder: Path, questions: int) -> None:
    """The three files, record by record."""
    rng = random.Random(0)
    words = [f"word{i}" if i % 7 else f"the word-{i}, {i}" for i in range(WORDS)]
    weights = list(accumulate(1 / (i + 1) for i in range(WORDS)))
    folder.mkdir()
    with (
        (folder / QUESTIONS).open("w") as questions_file,
        (folder / ANNOTATIONS).open("w") as answered,
        (folder / PREDICTIONS).open("w") as predictions_file,
    ):
        questions_file.write('{"questions": [')
        answered.write('{"annotations": [')
        for i in range(questions):
            *two, other = rng.choices(words, cum_weights=weights, k=3)
            comma = ", " if i else ""
            answers = [{"answer_id": n, "answer": two[rng.random() < 0.3]} for n in range(10)]
            questions_file.write(comma + json.dumps({"question_id": i, "image_id": i // 5, "question": "What is it?"}))
            answered.write(comma + json.dumps({
                "question_id": i, "image_id": i // 5, "answer_type": KINDS[i % 3], "question_type": "what",
                "answers": answers,
            }))  # fmt: skip
            predictions_file.write(json.dumps({"question_id": i, "prediction": rng.choice([*two, other])}) + "\n")
        questions_file.write("]}")
        answered.write("]}")


# ---- what is measured, each in a process of its own ---------------------------------------------------


class Phases:
    """CPU seconds by name; a phase that runs inside another is taken out of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.running: list[str] = []
        self._since = time.process_time()

    def _turn(self) -> None:
        now = time.process_time()
        if self.running:
            name = self.running[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    @contextlib.contextmanager
    def phase(self, name: str) -> Generator[None]:
        self._turn()
        self.running.append(name)
        try:
            yield
        finally:
            self._turn()
            self.running.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.phase(name):
                return function(*args, **kwargs)

        return call

    def pulled(self, name: str, values: Iterable[Any]) -> Iterator[Any]:
        """What `values` takes to give each of them."""
        waiting = iter(values)
        while True:
            with self.phase(name):
                value = next(waiting, None)
            if value is None:
                return
            yield value


def ouro(folder: Path) -> dict[str, Any]:
    """Scores the folder with cli.score.run: its score, CPU seconds by phase."""
    from cli import score as flow
    from ouro.benchmarks import predictions, scored

    phases = Phases()
    judge, read = scored.judge, predictions.read_predictions

    def judged(entries: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        control = "control" in phases.running
        with phases.phase("control" if control else "judging"):
            return judge(entries if control else phases.pulled("annotations", entries), *args, **kwargs)

    @contextlib.contextmanager
    def opened(*args: Any) -> Generator[Any]:
        with contextlib.ExitStack() as stack:
            with phases.phase("predictions"):
                predictions = stack.enter_context(read(*args))
            yield predictions

    scored.judge, predictions.read_predictions = judged, opened
    scored.with_constant = phases.timed("control", scored.with_constant)
    scored.score = phases.timed("interval", scored.score)
    files = [folder / QUESTIONS, folder / ANNOTATIONS]
    with contextlib.redirect_stdout(io.StringIO()) as out, phases.phase("rest"):
        flow.run(flow.Options("vqav2", files, folder / PREDICTIONS, "", False, True, None, True))
    estimate = json.loads(out.getvalue())["figures"]["accuracy"]["micro"]
    return {"score": estimate, "CPU s": {name: round(s, 1) for name, s in phases.seconds.items()}}


def uncached(folder: Path) -> dict[str, Any]:
    """The same, each answer normalised anew."""
    from ouro.benchmarks.scoring import vqa

    setattr(vqa, "_remembered", getattr(vqa, "_normalise"))  # noqa: B009, B010
    return ouro(folder)


def script(folder: Path) -> dict[str, Any]:
    """The baseline: a plain loop."""
    from ouro.benchmarks.scoring.vqa import soft_accuracy

    answers = {a["question_id"]: a for a in json.loads((folder / ANNOTATIONS).read_text())["annotations"]}
    replies: dict[int, str] = {}
    for line in (folder / PREDICTIONS).read_text().splitlines():
        row = json.loads(line)
        replies[row["question_id"]] = row["prediction"]
    scores = [soft_accuracy(replies[i], [x["answer"] for x in a["answers"]]) for i, a in answers.items()]
    return {"score": {"value": sum(scores) / len(scores)}, "CPU s": {"all": round(time.process_time(), 1)}}


WAYS: dict[str, Callable[[Path], dict[str, Any]]] = {"ouro": ouro, "uncached": uncached, "script": script}


def measured(way: str, folder: Path) -> dict[str, Any]:
    """What a way prints in its own process; with its seconds, start included, and its peak memory."""
    before = time.perf_counter()
    words = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, stdout=subprocess.PIPE, cwd=ROOT, env=env, check=True)
    return {**json.loads(done.stdout), "seconds": round(time.perf_counter() - before, 1)}


def main() -> int:
    """Exit code 1 when the scores differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--way", choices=WAYS, help="print what it makes of --folder")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.way:
        scores = WAYS[args.way](args.folder)
        print(json.dumps({**scores, "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        whole, part = Path(temporary) / "whole", Path(temporary) / "part"
        write(part, args.questions // 10)
        tenth = {way: measured(way, part) for way in WAYS}
        write(whole, args.questions)
        every = measured("ouro", whole)
    values = [scores["score"]["value"] for scores in tenth.values()]
    agree = max(values) - min(values) < 1e-12
    print(json.dumps({"questions": args.questions, "ouro": every, "a tenth": tenth, "scores agree": agree}, indent=1))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
