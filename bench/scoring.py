"""Scoring a million VQAv2 predictions: `uv run python bench/scoring.py [--questions 1000000]`.

The annotations (ten answers each, drawn from a vocabulary in which few words are frequent, as in VQAv2) and the
predictions are written to a temporary folder and scored by `ouro score vqav2` in a process of its own: seconds and
peak memory. Baseline, in the same run and process for a tenth of them: what a script does that reads both files with
json.load into dicts, and adds up soft_accuracy; its memory grows with the files. Printed: both, seconds a million, and
that the scores agree.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS, ANNOTATIONS, PREDICTIONS = "questions.json", "annotations.json", "predictions.jsonl"
WORDS = 5000
KINDS = ("yes/no", "number", "other")


def write(folder: Path, questions: int) -> None:
    """The three files, record by record."""
    rng = random.Random(0)
    words = [f"word{i}" if i % 7 else f"the word-{i}, {i}" for i in range(WORDS)]
    weights = [1 / (i + 1) for i in range(WORDS)]
    drawn = iter(rng.choices(words, weights, k=4 * questions))
    with (
        (folder / QUESTIONS).open("w") as asked,
        (folder / ANNOTATIONS).open("w") as answered,
        (folder / PREDICTIONS).open("w") as said,
    ):
        asked.write('{"questions": [')
        answered.write('{"annotations": [')
        for i in range(questions):
            two, comma = [next(drawn), next(drawn)], ", " if i else ""
            answers = [{"answer_id": n, "answer": two[rng.random() < 0.3]} for n in range(10)]
            asked.write(comma + json.dumps({"question_id": i, "image_id": i // 5, "question": "What is it?"}))
            answered.write(comma + json.dumps({
                "question_id": i, "image_id": i // 5, "answer_type": KINDS[i % 3], "question_type": "what",
                "answers": answers,
            }))  # fmt: skip
            said.write(json.dumps({"question_id": i, "prediction": rng.choice([*two, next(drawn)])}) + "\n")
        asked.write("]}")
        answered.write("]}")


def run(words: list[str]) -> tuple[dict[str, Any], float, float]:
    """JSON that a command prints, its seconds, and its peak memory in MB."""
    before = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        code = _wait(subprocess.Popen(words, stdout=out, cwd=ROOT), out)
        seconds = time.perf_counter() - before
        out.seek(0)
        return json.loads(out.read()), seconds, code


def _wait(process: subprocess.Popen[bytes], out: IO[str]) -> float:
    import os

    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"ended with {process.returncode}")
    return usage.ru_maxrss / 1024


def baseline(folder: Path) -> None:
    """What a script does; prints its score."""
    from ouro.benchmarks.scoring.vqa import soft_accuracy

    answers = {a["question_id"]: a for a in json.loads((folder / ANNOTATIONS).read_text())["annotations"]}
    said = {}
    for line in (folder / PREDICTIONS).read_text().splitlines():
        row = json.loads(line)
        said[row["question_id"]] = row["prediction"]
    scores = [soft_accuracy(said[i], [x["answer"] for x in a["answers"]]) for i, a in answers.items()]
    print(
        json.dumps(
            {"value": sum(scores) / len(scores), "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        )
    )


def main() -> int:
    """Exit code 1 when the two scores differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--baseline", type=Path, help="score this folder as a script does")
    args = parser.parse_args()
    if args.baseline:
        baseline(args.baseline)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        whole, part = Path(temporary) / "whole", Path(temporary) / "part"
        for folder, questions in ((whole, args.questions), (part, args.questions // 10)):
            folder.mkdir()
            write(folder, questions)

        def ouro(folder: Path, *more: str) -> tuple[dict[str, Any], float, float]:
            files = ["--annotations", str(folder / QUESTIONS), "--annotations", str(folder / ANNOTATIONS)]
            words = ["score", "vqav2", *files, "--predictions", str(folder / PREDICTIONS), "--json", *more]
            return run([sys.executable, "-m", "flows.cli", *words])

        scores, seconds, mb = ouro(whole, "--no-controls")
        _, both, _ = ouro(whole)
        small, small_seconds, small_mb = ouro(part, "--no-controls")
        plain, plain_seconds, _ = run([sys.executable, __file__, "--baseline", str(part)])
    value = small["figures"]["accuracy"]["micro"]["value"]
    result = {
        "questions": args.questions, "score": scores["figures"]["accuracy"]["micro"], "seconds": round(seconds, 1),
        "with the control": round(both, 1), "peak MB": round(mb),
        "a tenth": {"ouro s": round(small_seconds, 1), "ouro MB": round(small_mb), "script s": round(plain_seconds, 1),
                    "script MB": round(plain["mb"]), "ouro / script": round(small_seconds / plain_seconds, 2)},
        "scores agree": abs(value - plain["value"]) < 1e-12,
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    return 0 if result["scores agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
