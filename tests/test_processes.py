"""Nothing outlives a killed parent: workers of a pool, and a stage that DVC runs for `ouro bootstrap`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import PIL.Image
import psutil
import pytest

from ouro.core.processes import Workers, end_with_parent, is_alive
from ouro.vision.ocr import OCRProposer
from tasks.processes.stage import StageFailed, repro_stage

PARENT = """
from concurrent.futures import wait
import os, time
from ouro.core.processes import Workers

pool = Workers(2).pool()
wait([pool.submit(time.sleep, 0.3) for _ in range(4)])
print(*pool._processes, flush=True)
time.sleep(600)
"""
STAGES = """
stages:
  first:
    cmd: python first.py
    outs: [one]
  second:
    cmd: cp one two
    deps: [one]
    outs: [two]
"""
FIRST = """
import os, time
from pathlib import Path

killed = Path("pid").exists()
Path("pid").write_text(f"{os.getpid()}\\n")
if not killed:
    time.sleep(600)
Path("one").write_text("1")
"""
BOOTSTRAP = "from tasks.processes.stage import repro_stage; repro_stage('first')"


def until(true: Callable[[], bool], seconds: float = 100.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def started(pid_file: Path) -> int:
    assert until(lambda: pid_file.is_file() and pid_file.read_text().endswith("\n"))
    return int(pid_file.read_text())


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git and DVC repository of two stages; the first hangs in its first run."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "first.py").write_text(FIRST)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_workers_of_a_killed_parent_end() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert all(map(is_alive, workers))
        parent.kill()
    assert until(lambda: not any(map(is_alive, workers)), seconds=20)


def test_a_pool_that_lost_a_worker_is_replaced_at_its_next_use() -> None:
    workers = Workers(1)
    with pytest.raises(BrokenProcessPool):
        workers.pool().submit(os._exit, 1).result()
    pool = workers.pool()
    assert pool.submit(int, "7").result() == 7
    assert workers.pool() is pool


def test_only_a_worker_can_end_with_its_parent() -> None:
    with pytest.raises(RuntimeError, match="expected a pool's worker"):
        end_with_parent()


def test_ocr_recovers_from_a_dead_reader_and_hands_on_a_readers_own_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ocr = OCRProposer(0.6, tmp_path / "file/ocr", processes=2)  # no folder can be made there
    page = [PIL.Image.new("RGB", (8, 8))]
    with pytest.raises(NotADirectoryError, match="file/ocr"):
        ocr.propose(page)
    assert ocr._workers is not None
    with pytest.raises(BrokenProcessPool):
        ocr._workers.pool().submit(os._exit, 1).result()
    with pytest.raises(NotADirectoryError, match="file/ocr"):
        ocr.propose(page)


def test_a_stage_ends_with_its_killed_bootstrap_and_the_next_run_succeeds(pipeline: Path) -> None:
    """It lived on under pid 1 and kept DVC's lock: every stage of the next run was refused, without a word."""
    with subprocess.Popen([sys.executable, "-c", BOOTSTRAP]) as bootstrap:
        try:
            stage = started(pipeline / "pid")
        finally:
            bootstrap.kill()
    for name in ("first", "second"):
        repro_stage(name)
    assert not is_alive(stage)
    assert (pipeline / "two").read_text() == "1"


def test_a_stage_ends_with_its_interrupted_bootstrap(pipeline: Path) -> None:
    heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{BOOTSTRAP}"  # nohup ignores it
    with subprocess.Popen([sys.executable, "-c", heard], stderr=subprocess.PIPE, text=True) as bootstrap:
        try:
            stage = started(pipeline / "pid")
            bootstrap.send_signal(signal.SIGINT)
            error = bootstrap.communicate(timeout=60)[1]
        finally:
            bootstrap.kill()
    assert not is_alive(stage)
    assert "KeyboardInterrupt" in error


def test_while_a_stage_is_at_work_another_is_refused_at_once(pipeline: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", BOOTSTRAP]) as bootstrap:
        try:
            started(pipeline / "pid")
            with pytest.raises(StageFailed, match=f"held by process {bootstrap.pid}; expected no other stage"):
                repro_stage("second")
        finally:
            bootstrap.kill()


def test_where_the_supervisor_of_a_stage_is_killed_the_stage_ends_and_the_next_run_succeeds(pipeline: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", BOOTSTRAP], stderr=subprocess.PIPE, text=True) as bootstrap:
        stage = started(pipeline / "pid")
        (supervisor,) = psutil.Process(bootstrap.pid).children()
        supervisor.kill()
        error = bootstrap.communicate(timeout=60)[1]
    assert "StageFailed: stage first" in error
    assert not is_alive(stage)


def test_what_dvc_refuses_it_says(pipeline: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StageFailed, match="stage third"):
        repro_stage("third")
    out, err = capfd.readouterr()
    assert "Stage 'third' not found" in err
    assert out == ""
