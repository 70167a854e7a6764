"""Shards by every runner, in shares, and by several processes at once: the same bytes, each made once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from described import NAMES, described
from hypothesis import given
from hypothesis import strategies as st

from flows.shards import Share, parse_share
from ouro.core.artifacts import ArtifactError, read_sidecar, write_shard
from ouro.core.layout import shard_names
from ouro.core.params import Params, Runner
from ouro.core.params_text import ParamsError
from ouro.core.records import Rejected, Scene
from tasks.processes.pool import pool
from tasks.shards import produce

ROOT = Path(__file__).resolve().parent.parent


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def running(kind: str) -> Params:
    return Params(runner=Runner.model_validate({"kind": kind, "workers": 2}))


# ---- runners -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["threads", pytest.param("ray", marks=pytest.mark.slow)])
def test_every_runner_makes_the_bytes_of_the_local_one(kind: str, prefect_api: str, tmp_path: Path) -> None:
    from flows.merge import merge

    one, other = described(tmp_path / "one"), described(tmp_path / "other")
    merge(running("local"), one)
    merge(running(kind), other)
    assert shard_names(other.scenes) == NAMES
    assert files_of(other.scenes) == files_of(one.scenes)


@pytest.mark.parametrize("kind", ["local", "threads", pytest.param("ray", marks=pytest.mark.slow)])
def test_progress_reaches_the_total_whoever_runs_the_shards(
    kind: str, prefect_api: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.merge import merge

    merge(running(kind), described(tmp_path))
    assert "merge: 4 images in" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["local", "threads", pytest.param("ray", marks=pytest.mark.slow)])
def test_the_error_of_a_shard_arrives_as_it_is(kind: str, prefect_api: str, tmp_path: Path) -> None:
    from flows.merge import merge

    layout = described(tmp_path)
    (layout.descriptions / NAMES[2]).unlink()
    with pytest.raises(ArtifactError, match=f"{NAMES[2]}: not found"):
        merge(running(kind), layout)


@pytest.mark.slow
def test_a_local_ray_listens_on_loopback_alone() -> None:
    import psutil
    import ray

    with pool(Runner(kind="ray", workers=1)):
        assert ray.get(ray.remote(lambda: 7).remote()) == 7  # workers are up, too
        listening = [
            c.laddr.ip
            for child in psutil.Process().children(recursive=True)
            for c in child.net_connections("inet")
            if c.status == psutil.CONN_LISTEN
        ]
    assert len(listening) > 3
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


# ---- shares ------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(0, 40))
def test_the_shares_of_all_processes_are_all_shards_each_once(of: int, shards: int) -> None:
    every = [str(n) for n in range(shards)]
    taken = [name for first in range(of) for name in Share(first, of).names(every)]
    assert sorted(taken, key=int) == every


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "0/0", "a/b", "1/2/3", "0.5/2"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ParamsError, match="expected I/N"):
        parse_share(text)


def test_a_share_takes_its_shards_and_leaves_those_of_others(prefect_api: str, tmp_path: Path) -> None:
    from flows.merge import merge

    layout = described(tmp_path)
    beyond = "shard-00009.parquet"
    write_shard(layout.scenes / NAMES[0], Scene, [], n_in=0)
    write_shard(layout.scenes / beyond, Scene, [], n_in=0)  # left by a larger run
    merge(Params(), layout, parse_share("1/2"))
    assert shard_names(layout.scenes) == [NAMES[0], NAMES[1], NAMES[3]]
    assert read_sidecar(layout.scenes / NAMES[0]).n_out == 0
    merge(Params(), layout, parse_share("0/2"))
    assert shard_names(layout.scenes) == NAMES
    assert read_sidecar(layout.scenes / NAMES[0]).n_out == 1


def test_more_processes_than_shards_is_no_error(prefect_api: str, tmp_path: Path) -> None:
    from flows.merge import merge

    layout = described(tmp_path)
    merge(Params(), layout, Share(5, 9))
    assert not layout.scenes.exists()


# ---- one shard, several processes --------------------------------------------------------------------

MAKING = """
import os, signal, sys, time
from pathlib import Path
from ouro.core.artifacts import write_shard
from ouro.core.records import Rejected
from tasks.shards import produce

root, what = Path(sys.argv[1]), sys.argv[2]

def make():
    with (root / "log").open("a") as log:
        log.write("made\\n")
    (root / "making").touch()
    time.sleep(1.0)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    write_shard(root / "out/shard-00000.parquet", Rejected, [Rejected("t", "a", "b")], n_in=1)

out, cache = root / "out/shard-00000.parquet", root / "cache"
print(produce("merge", out, inputs=[root / "in"], params={}, code="", cache=cache, make=make))
"""


def making(root: Path, what: str) -> subprocess.Popen[str]:
    (root / "in").touch()
    return subprocess.Popen(
        [sys.executable, "-c", MAKING, str(root), what], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_shard_that_two_processes_want_is_made_once(tmp_path: Path) -> None:
    outputs = [p.communicate()[0].strip() for p in [making(tmp_path, "make") for _ in range(2)]]
    assert sorted(outputs) == ["False", "True"]  # made, restored
    assert (tmp_path / "log").read_text() == "made\n"
    assert read_sidecar(tmp_path / "out/shard-00000.parquet").n_out == 1


def test_the_lock_of_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    dying = making(tmp_path, "die")
    dying.communicate()
    assert dying.returncode == -signal.SIGKILL
    assert (tmp_path / "making").is_file()
    other = making(tmp_path, "make")
    assert other.communicate()[0].strip() == "False"
    assert (tmp_path / "log").read_text() == "made\nmade\n"


def test_a_shard_that_is_right_already_is_not_touched(tmp_path: Path) -> None:
    """Removed and written again, it was missing for a moment in which another process read it."""
    out = tmp_path / "out/shard-00000.parquet"
    (tmp_path / "in").touch()

    def produce_again() -> bool:
        return produce(
            "merge", out, inputs=[tmp_path / "in"], params={}, code="", cache=tmp_path / "cache",
            make=lambda: write_shard(out, Rejected, [Rejected("t", "a", "b")], n_in=1),
        )  # fmt: skip

    assert not produce_again()
    before = {p: p.stat().st_ino for p in out.parent.iterdir()}
    assert produce_again()
    assert {p: p.stat().st_ino for p in out.parent.iterdir()} == before
    whole = out.read_bytes()
    out.write_bytes(b"damaged")
    assert produce_again()
    assert out.read_bytes() == whole
