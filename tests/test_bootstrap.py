"""Rounds on the real Prefect server, DVC, git and MLflow; only what the stages compute is a few lines of Python here.

The stages' own work is tested elsewhere, and `ouro bootstrap` on nano takes minutes a round.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent

STAGE = '''
"""One stage: notes that it ran, waits while a file says so, and writes what a round reads."""
import json, os, sys, time, pathlib, yaml
sys.excepthook = lambda kind, error, at: print(f"error: {error}", file=sys.stderr)  # as Ouro's own stages
stage, params = sys.argv[1], yaml.safe_load(pathlib.Path("params.yaml").read_text())
number, adapter = params["round"], params["model"]["adapter"]
with open(".ouro/ran", "a") as log:
    log.write(f"{number} {stage} {adapter}\\n")
while pathlib.Path(f"hold-{stage}").exists():
    time.sleep(0.1)
if pathlib.Path(f"break-{stage}").exists():
    sys.exit("this stage is broken")
if stage == "train":
    out = pathlib.Path("models/adapter"); out.mkdir(parents=True)
    (out / "adapter_model.safetensors").write_text(f"weights of round {number}")
    (out / "adapter_config.json").write_text('{"peft_type": "LORA"}')
elif stage == "benchmark":
    out = pathlib.Path("data/scores"); out.mkdir(parents=True)
    gains = json.loads(pathlib.Path("gains.json").read_text())
    gain = gains[min(number, len(gains)) - 1]
    rows = []
    for other in ["base", "champion"] if adapter else ["base"]:
        at = {"value": gain, "low": gain - 0.01, "high": gain + 0.01, "n": 50}
        rows.append({"benchmark": "held-out", "k": 0, "models": [other, "bootstrapped"], "first": 0.3,
                     "second": 0.3 + gain, "gain": at, "points": 100.0})
    (out / "gate.json").write_text(json.dumps({"measured": rows, "benchmarks": []}))
    (out / "scores.json").write_text(json.dumps({"comparisons": [], "over champion": [], "k": 5}))
else:
    for name in {"ingest": ["images", "annotations"], "propose": ["regions"], "describe": ["descriptions"],
                 "merge": ["scenes"], "synthesize": ["qa"]}[stage]:
        out = pathlib.Path("data") / name; out.mkdir(parents=True)
        (out / "what.txt").write_text(f"{stage} by {adapter}")
'''
READS = {
    "ingest": [], "propose": ["data/images"], "describe": ["data/regions", "models/champions"],
    "merge": ["data/descriptions"], "synthesize": ["data/scenes"], "train": ["data/qa"],
    "benchmark": ["models/adapter"],
}  # fmt: skip
WRITES = {
    "ingest": ["data/images", "data/annotations"], "propose": ["data/regions"], "describe": ["data/descriptions"],
    "merge": ["data/scenes"], "synthesize": ["data/qa"], "train": ["models/adapter"], "benchmark": ["data/scores"],
}  # fmt: skip


class Checkout:
    """A git checkout with the seven stages, and `ouro bootstrap` in it."""

    def __init__(self, folder: Path, gains: list[float]) -> None:
        self.folder = folder
        params = (ROOT / "params.yaml").read_text()
        stages = {
            name: {
                "cmd": f"{sys.executable} stage.py {name}",
                "deps": ["stage.py", *READS[name]],
                "params": ["model.adapter", *(["round"] if name == "train" else [])],
                "outs": WRITES[name],
            }
            for name in READS
        }
        for path, text in {
            "params.yaml": params, "dvc.yaml": yaml.safe_dump({"stages": stages}, sort_keys=False), "stage.py": STAGE,
            "gains.json": json.dumps(gains), "models/champions/.gitignore": "# here\n",
            ".gitignore": ".ouro/\nmlflow.db*\nmlartifacts/\nreport/\nhold-*\nbreak-*\n",
        }.items():  # fmt: skip
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        (folder / "models/nano").symlink_to(ROOT / "models/nano")
        (folder / "benchmarks").mkdir()
        (folder / ".ouro").mkdir()
        self.call("git", "init", "-q", "-b", "main")
        self.dvc("init", "-q")
        (folder / ".dvc/config").write_text((ROOT / ".dvc/config").read_text())
        self.call("git", "add", "-A")
        self.call("git", "commit", "-q", "-m", "begin")

    def environment(self) -> dict[str, str]:
        who = {
            f"GIT_{role}_{what}": f"{what}@example.org"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        return {**mine, **who, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(self.folder / ".ouro/prefect")}

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.call(sys.executable, "-m", "dvc", *arguments)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.app", "bootstrap", *arguments], cwd=self.folder, text=True,
            env={**self.environment(), **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def bootstrap(self, *arguments: str, code: int = 0, **environment: str) -> str:
        process = self.start(*arguments, **environment)
        output = process.communicate()[0]
        assert process.returncode == code, output
        return output

    def ran(self) -> list[str]:
        """round stage, in the order in which the stages ran."""
        path = self.folder / ".ouro/ran"
        return [" ".join(line.split()[:2]) for line in path.read_text().splitlines()] if path.is_file() else []

    def wait_for(self, line: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while line not in self.ran():
            assert time.monotonic() < end, f"{line} never ran: {self.ran()}"
            time.sleep(0.1)

    def rounds(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted((self.folder / "rounds").glob("*.json"))]

    def verdicts(self) -> list[bool]:
        return [record["verdict"]["promoted"] for record in self.rounds()]

    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "params.yaml").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    yield checkout
    state = checkout / ".ouro/prefect-server.json"
    if state.is_file():  # of a run that a test has killed
        os.killpg(json.loads(state.read_text())["pid"], signal.SIGKILL)


@pytest.mark.timeout(1500)
def test_three_rounds_a_damaged_candidate_is_refused_and_every_tag_is_up_to_date(folder: Path) -> None:
    c = Checkout(folder, [0.2, -0.1, 0.1])
    output = c.bootstrap("--rounds", "3", "--commit")
    assert c.verdicts() == [True, False, True]
    annotators = [record["annotator"] for record in c.rounds()]
    champion = "models/nano + models/champions/round-001"
    assert annotators == ["models/nano", champion, champion], "the refused one never annotates"
    assert "round 2: the candidate is NOT promoted" in output
    assert (folder / "models/champions/round-001/adapter_model.safetensors").read_text() == "weights of round 1"
    assert c.call("git", "status", "--porcelain") == ""
    assert c.dvc("status", "--json").strip() == "{}"
    for number in (1, 2, 3):
        c.call("git", "checkout", "-q", f"round-00{number}")
        c.dvc("checkout", "-q")
        assert c.dvc("status", "--json").strip() == "{}", number
        weights = (folder / "models/adapter/adapter_model.safetensors").read_text()
        assert weights == f"weights of round {number}"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_rounds_without_a_gain_are_the_last_and_a_nightly_then_ends_without_a_server(folder: Path) -> None:
    c = Checkout(folder, [0.2, -0.1, -0.1])
    output = c.bootstrap("--rounds", "5", "--commit")
    assert "ended after 3 of 5 rounds: saturated after round 3: 2 rounds in a row without a gain" in output
    assert c.params()["model"]["adapter"] == "models/champions/round-001"
    ran = c.ran()
    output = c.bootstrap("--commit")
    assert "nothing to do: saturated after round 3" in output and "Prefect" not in output
    assert c.ran() == ran
    from mlflow import MlflowClient

    store = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    assert store.get_model_version_by_alias("ouro", "champion").tags["round"] == "1"
    newest = store.get_model_version_by_alias("ouro", "candidate")
    assert (newest.tags["round"], newest.tags["verdict"], newest.tags["git_tag"]) == ("3", "refused", "round-003")
    assert newest.tags["git_commit"] == c.call("git", "rev-parse", "round-003^{commit}").strip()


@pytest.mark.slow
def test_a_killed_round_goes_on_without_repeating_what_was_finished(folder: Path) -> None:
    c = Checkout(folder, [0.2])
    (folder / "hold-train").touch()
    process = c.start()
    c.wait_for("1 train")
    process.kill()
    process.wait()
    (folder / "hold-train").unlink()
    output = c.bootstrap("--no-commit")
    assert "marked 1 runs of killed processes as crashed" in output
    order = ["ingest", "propose", "describe", "merge", "synthesize", "train", "train", "benchmark"]
    assert c.ran() == [f"1 {stage}" for stage in order]
    assert c.verdicts() == [True]
    assert "git" not in output.partition("round 1: the candidate")[2] and c.call("git", "tag") == ""


@pytest.mark.slow
def test_killed_after_its_verdict_a_round_is_committed_and_told_by_the_next_start(folder: Path) -> None:
    c = Checkout(folder, [0.2, -0.1])
    hook, waits, hold = folder / ".git/hooks/post-commit", folder / ".ouro/waits", folder / "hold-commit"
    hook.write_text(f"#!/bin/sh\ntouch {waits}\nwhile test -e {hold}; do sleep 0.1; done\nrm {waits}\n")
    hook.chmod(0o755)
    hold.touch()
    process = c.start("--commit")
    while not waits.exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    hold.unlink()
    while waits.exists():
        time.sleep(0.1)
    from mlflow import MlflowClient

    store = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    assert c.verdicts() == [True] and not store.search_model_versions("name='ouro'")
    assert c.call("git", "tag") == ""
    output = c.bootstrap("--commit")
    assert "round 1 ended before MLflow was told" in output
    assert c.ran().count("1 train") == 1
    assert c.call("git", "tag").split() == ["round-001", "round-002"]
    versions = {v.tags["round"]: v for v in store.search_model_versions("name='ouro'")}
    assert sorted(versions) == ["1", "2"]
    assert versions["1"].tags["git_tag"] == "round-001"
    assert store.get_run(versions["1"].run_id or "").info.status == "FINISHED"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 24 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs rights that this user has not got")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_in_mid_round_loses_nothing_and_the_next_start_continues(
    small_disk: Path, tmp_path: Path
) -> None:
    here = small_disk / "checkout"
    here.mkdir()
    c = Checkout(here, [0.2])
    (here / "hold-train").touch()
    process = c.start("--commit", PREFECT_HOME=str(tmp_path / "prefect"))
    c.wait_for("1 train")
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    (here / "hold-train").unlink()
    output = process.communicate()[0]
    assert process.returncode in (1, 2), output
    assert "No space left on device" in output and "error: stage train: " in output and "Traceback" not in output
    assert "MLflow does not take what is logged (database or disk is full)" in output
    assert not c.rounds() and c.call("git", "tag") == ""
    filler.unlink()
    c.bootstrap("--commit", PREFECT_HOME=str(tmp_path / "prefect"))
    assert c.verdicts() == [True] and c.ran().count("1 describe") == 1
    assert c.call("git", "tag").split() == ["round-001"]
    assert c.dvc("status", "--json").strip() == "{}"


@pytest.mark.slow
def test_a_stage_that_fails_promotes_nothing_and_the_next_start_continues(folder: Path) -> None:
    c = Checkout(folder, [0.2])
    c.bootstrap("--commit")
    (folder / "break-train").touch()
    output = c.bootstrap("--commit", code=1)
    assert "error: stage train: ended with an error, printed above; what was finished is kept" in output
    assert c.params()["round"] == 2 and c.verdicts() == [True]
    assert c.call("git", "tag").split() == ["round-001"]
    (folder / "break-train").unlink()
    c.bootstrap("--commit")
    assert [line for line in c.ran() if line.startswith("2 describe")] == ["2 describe"]
    assert c.call("git", "tag").split() == ["round-001", "round-002"]


@pytest.mark.slow
def test_a_prefect_server_that_is_killed_in_mid_round_is_started_again(folder: Path) -> None:
    c = Checkout(folder, [0.2])
    (folder / "hold-train").touch()
    process = c.start()
    c.wait_for("1 train")
    os.killpg(json.loads((folder / ".ouro/prefect-server.json").read_text())["pid"], signal.SIGKILL)
    (folder / "hold-train").unlink()
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert "the Prefect server at http://127.0.0.1:" in output and "is gone; it is started again" in output
    assert c.ran().count("1 train") == 1 and c.verdicts() == [True]
    assert not (folder / ".ouro/prefect-server.json").exists(), "the one that was started again was stopped"


@pytest.mark.slow
def test_mlflow_that_does_not_answer_holds_nobody_up(folder: Path) -> None:
    c = Checkout(folder, [0.2])
    output = c.bootstrap(MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert output.count("MLflow at http://127.0.0.1:9 does not answer") == 1
    assert c.verdicts() == [True]


@pytest.mark.slow
def test_a_remote_that_refuses_keeps_the_round_and_the_next_start_sends_it(folder: Path) -> None:
    c = Checkout(folder, [0.2, -0.1])
    remote = folder.parent / "remote"
    remote.write_text("a file, no folder")
    c.dvc("remote", "add", "-d", "store", str(remote / "below"))
    c.call("git", "commit", "-qam", "remote")
    output = c.bootstrap("--commit", code=2)
    assert "error: dvc push: " in output and "The round is finished, committed and kept here" in output
    assert c.call("git", "tag").split() == ["round-001"]
    remote.unlink()
    output = c.bootstrap("--no-commit")
    assert output.count("dvc push: the remote has everything") == 1, "what was kept, before anything of it changes"
    assert c.call("git", "tag").split() == ["round-001"]
    output = c.bootstrap("--commit")
    assert output.count("dvc push: the remote has everything") == 2, "the round that ended without, and the new one"
    assert c.call("git", "tag").split() == ["round-001", "round-002", "round-003"]


@pytest.mark.slow
def test_somebodys_dvc_repro_at_the_same_time_is_one_sentence(folder: Path) -> None:
    c = Checkout(folder, [0.2])
    (folder / "hold-describe").touch()
    command = [sys.executable, "-m", "dvc", "repro", "-q"]
    other = subprocess.Popen(
        command, cwd=folder, env=c.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    c.wait_for("1 describe")
    output = c.bootstrap(code=1)
    assert "dvc.yaml" in output or "lock" in output
    assert "error: stage " in output and "Traceback" not in output
    assert not c.rounds()
    (folder / "hold-describe").unlink()
    other.wait()
    c.bootstrap()
    assert c.verdicts() == [True] and c.ran().count("1 describe") == 1


@pytest.mark.slow
def test_a_dirty_tree_and_two_at_once_are_refused(folder: Path) -> None:
    c = Checkout(folder, [0.2])
    (folder / "gains.json").write_text("[0.3]")
    output = c.bootstrap("--commit", code=2)
    assert "error: git: gains.json changed and not committed" in output
    assert not c.ran() and c.params()["round"] == 1
    (folder / "hold-ingest").touch()
    first = c.start()
    c.wait_for("1 ingest")
    assert "another `ouro bootstrap` is at work in this checkout" in c.bootstrap(code=2)
    (folder / "hold-ingest").unlink()
    assert first.wait() == 0
