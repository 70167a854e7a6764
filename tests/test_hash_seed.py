"""The same text gives the same bytes in every process: no result depends on the order of a set of strings.

Python orders such a set anew in every process (PYTHONHASHSEED), so a shard made again could differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What merging, guard and support make of free text, and what nano's support says where two containers have one name.
PROGRAM = """
import json
from perf.realtext import CASES, check_text, evidence_of_case, load_cases, load_merges, scene_of
from ouro.annotate.pairs.replies import Written
from ouro.annotate.pairs.support import support
from ouro.core.params import Merge
from ouro.nano.support import check_pair

for case in load_cases():
    scene = scene_of(case, Merge(writer="outline", max_tokens=200))
    print(scene)
    evidence = evidence_of_case(case)
    for text in [load_merges()[case.name]["good_merge"], *(b["text"] for b in load_merges()[case.name]["bad_merges"])]:
        print(check_text(text, evidence))
    for reply in json.loads((CASES / "qa.json").read_text()):
        if reply["case"] == case.name:
            print([support(Written(p["question"], p["answer"]), evidence) for p in reply["pairs"]])
tables = (
    "a table at the top right and a box at the bottom right. there is a table at the right. "
    "the table at the right has a star."
)
print([check_pair(Written("where is the table?", place), tables) for place in ("top right", "right", "bottom right")])
"""


def output(seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_free_text_and_nano_are_read_alike_whatever_the_hash_seed() -> None:
    first = output(1)
    assert first == output(2) == output(3)
    assert first.rstrip().endswith("['', '', 'attribute_of_another_object']"), "both tables are told of"
