"""`ouro ablate` for real: nano, a few scenes, two arms and two seeds, killed in the middle. Some minutes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ouro.core.artifacts import read_all, write_shard
from ouro.core.layout import Layout
from ouro.core.params import Ingest
from ouro.core.records import Image, QAPair, Region, Scene
from ouro.nano.world import write_world

ROOT = Path(__file__).resolve().parent.parent
WRITES = {
    "ingest": ["images", "annotations"], "propose": ["regions"], "describe": ["descriptions"], "merge": ["scenes"],
    "synthesize": ["qa"],
}  # fmt: skip
SMALL = {
    "model": {"processes": 1}, "train": {"processes": 1, "epochs": 1, "batch_size": 4, "questions": 1},
    "benchmark": {"bootstrap_samples": 100, "dtype": "float32"},
}  # fmt: skip
WORDS = ("k", "--set", "train.k=0,1", "--seeds", "2", "--name", "small")


def annotate(folder: Path) -> None:
    """data/ of 8 scenes to train on and 4 to ask about, as a round leaves it, with two sub-regions each."""
    layout = Layout(folder / "data", folder / ".ouro/cache")
    write_world(layout.images, layout.annotations, Ingest(train_images=8, test_images=4, shard_images=20), 0)
    images = read_all(layout.images, Image)
    boxes = ((0.0, 0.0, 256.0, 256.0), (0.0, 0.0, 128.0, 128.0), (128.0, 128.0, 256.0, 256.0))
    ids = ("0", "0.0", "0.1")
    regions = [
        Region(f"{i.image_id}/{name}", i.image_id, f"{i.image_id}/0" if n else None, int(n > 0), box, 1.0,
               "rpn" if n else "image")
        for i in images for n, (name, box) in enumerate(zip(ids, boxes, strict=True))
    ]  # fmt: skip
    trained = [i for i in images if i.split == "train"]
    scenes = [Scene(i.image_id, "a box holds a red circle.", (), ()) for i in trained]
    pairs = [QAPair(f"{i.image_id}-0", i.image_id, "object details", "is there a box?", "yes") for i in trained]
    shard = "shard-00000.parquet"
    for place, kind, rows in (
        (layout.regions, Region, regions),
        (layout.scenes, Scene, scenes),
        (layout.qa, QAPair, pairs),
    ):
        write_shard(place / shard, kind, rows, n_in=len(rows))
    layout.descriptions.mkdir()
    (layout.descriptions / "none.txt").write_text("not read by an arm")


class Checkout:
    """A copy of the checkout with small data, and the command in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("ouro", "tasks", "flows", "cli", "models/nano"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
        for section, values in SMALL.items():
            params[section] |= values
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        (folder / ".gitignore").write_text(".ouro/\nmlflow.db*\nmlartifacts/\n__pycache__/\n")
        stages = {name: {"cmd": "true", "outs": [f"data/{out}" for out in outs]} for name, outs in WRITES.items()}
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        annotate(folder)
        self.call("git", "init", "-q", "-b", "main")
        self.call(sys.executable, "-m", "dvc", "init", "-q")
        (folder / ".dvc/config").write_text((ROOT / ".dvc/config").read_text())
        self.call(sys.executable, "-m", "dvc", "commit", "-f", "-q")
        self.call("git", "add", "-A")
        self.call("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "begin")

    def environment(self) -> dict[str, str]:
        mine = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "OURO_"))
        }
        return {**mine, "PYTHONUNBUFFERED": "1"}

    def call(self, *command: str) -> None:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.app", "ablate", *words], cwd=self.folder, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def ablate(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        output = process.communicate(timeout=1200)[0]
        assert process.returncode == code, output
        return output

    def scores(self) -> dict[str, tuple[bytes, int]]:
        """Every arm's scores: their bytes, and when they were written."""
        files = sorted((self.folder / "ablations/small").glob("*/seed-*/scores.json"))
        return {str(p.relative_to(self.folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("ablate"))


def killed_in_third_arm(checkout: Checkout) -> None:
    process = checkout.start(*WORDS)
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("arm 3 of 4"):
            time.sleep(3.0)  # into DVC or the stage
            process.send_signal(signal.SIGKILL)
            break
    else:
        pytest.fail(f"it never came to its third arm:\n{''.join(lines)}")
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_killed_grid_goes_on_and_mlflow_has_the_same_table(checkout: Checkout) -> None:
    killed_in_third_arm(checkout)
    before = checkout.scores()
    assert sorted(before) == [f"ablations/small/k-{k}/seed-0/scores.json" for k in (0, 1)]

    output = checkout.ablate(*WORDS)
    assert "2 of 4 arms and seeds are up to date" in output
    assert "arm 1 of 2" in output and "arm 2 of 2" in output and "arm 3" not in output
    after = checkout.scores()
    assert {path: after[path] for path in before} == before, "finished arms are not run again"
    assert len(after) == 4
    assert "Table 5 of the paper" in output and "compare-runs?runs=" in output

    table = json.loads((checkout.folder / "ablations/small/table.json").read_text())
    assert (checkout.folder / "ablations/small/figure.png").read_bytes().startswith(b"\x89PNG")
    assert same_table(checkout, table) == 4

    files = [
        checkout.folder / "ablations/small" / name for name in ("table.json", "table.md", "figure.png", "dvc.lock")
    ]
    contents = [file.read_bytes() for file in files]
    second_output = checkout.ablate(*WORDS)
    assert "4 of 4 arms and seeds are up to date" in second_output and "arm 1" not in second_output
    assert [file.read_bytes() for file in files] == contents
    assert same_table(checkout, table) == 4, "and logged no run a second time"


def same_table(checkout: Checkout, table: dict[str, Any]) -> int:
    """Assert that `mlflow.search_runs` gives the figures of table.json; how many runs of arms there are."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{checkout.folder / 'mlflow.db'}")
    runs: Any = mlflow.search_runs(experiment_names=["ablations"])
    parents = runs[runs["tags.arm"].isna() & (runs["tags.ablation"] == "small")]
    assert list(parents["status"]) == ["FINISHED"]
    arms = runs[(runs["tags.mlflow.parentRunId"] == parents["run_id"].iloc[0]) & runs["tags.arm"].notna()]
    assert set(arms["status"]) == {"FINISHED"}
    for arm in table["arms"]:
        arm_runs = arms[arms["tags.arm"] == arm["arm"]].sort_values("tags.seed")
        for name, spread in arm["figures"].items():
            assert list(arm_runs[f"metrics.{name}"]) == spread["values"], name
            assert arm_runs[f"metrics.{name}"].mean() == pytest.approx(spread["mean"], abs=1e-12)
    return len(arms)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_annotations_that_are_up_to_date_nothing_starts(checkout: Checkout) -> None:
    moved = checkout.folder / "data/qa"
    moved.rename(checkout.folder / "qa")
    try:
        output = checkout.ablate("k", "--name", "refused", code=2)
    finally:
        (checkout.folder / "qa").rename(moved)
    words = " ".join(output.split())
    assert "stage synthesize out of date or without outputs" in words and "`ouro bootstrap` first" in words
    assert "Prefect:" not in output and "Traceback" not in output
