"""Locks between processes: one holder, many users, and what a killed holder leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.processes.locks import LockHeld, exclusive, inherited, shared, try_exclusive

# Holds a lock, hands it to a child that ends when its standard input does, says so, and waits to be killed.
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from tasks.processes.locks import inherited

with inherited(Path(sys.argv[1]), 0, lambda: None) as lock:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=(lock,))
    print("held", flush=True)
    time.sleep(600)
"""


def never() -> None:
    raise AssertionError("nobody is waited for")


def refusal(lock: Path, seconds: float) -> str:
    with pytest.raises(LockHeld) as caught, inherited(lock, seconds, lambda: None):
        pass
    return str(caught.value)


def holder(lock: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(lock)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_an_exclusive_lock_has_one_holder_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a/b/lock"
    with (
        exclusive(path),
        pytest.raises(LockHeld, match="a/b/lock: held by another process"),
        exclusive(path, wait=False),
    ):
        pass
    with exclusive(path, wait=False):
        pass


def test_the_last_user_of_a_shared_lock_knows_it(tmp_path: Path) -> None:
    with shared(tmp_path / "lock") as first:
        with shared(tmp_path / "lock") as second:
            assert not try_exclusive(second)
        assert try_exclusive(first)
        with pytest.raises(LockHeld), exclusive(tmp_path / "lock", wait=False):
            pass


def test_an_inherited_lock_is_refused_at_once_while_its_holder_lives(tmp_path: Path) -> None:
    with inherited(tmp_path / "lock", 600, never):
        pass
    with inherited(tmp_path / "lock", 600, never):
        assert refusal(tmp_path / "lock", 600) == f"{tmp_path / 'lock'}: held by process {os.getpid()}"


def test_what_a_killed_holder_left_is_waited_for(tmp_path: Path) -> None:
    killed = holder(tmp_path / "lock")
    assert killed.stdin is not None
    assert f"held by process {killed.pid}" in refusal(tmp_path / "lock", 600)
    killed.kill()
    killed.wait()
    assert "what a killed process left is still there after 0 s" in refusal(tmp_path / "lock", 0)
    with inherited(tmp_path / "lock", 60, killed.stdin.close):  # whereupon its child ends
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    assert (tmp_path / "lock").read_text() == ""
