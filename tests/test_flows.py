"""Flows and tasks against a real Prefect server: retries, refusals, kill -9 and resumption."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ouro.core.artifacts import read_all, write_shard
from ouro.core.layout import Layout, shard_names
from ouro.core.params import Params
from ouro.core.records import Description, Image, Region, Scene

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("shard-00000.parquet", "shard-00001.parquet")


@pytest.fixture(autouse=True)
def prefect_has_set_up_logging() -> None:
    """Done by the first flow of a session, it takes away the handler of caplog: that test would see no records."""
    from prefect.logging.configuration import setup_logging

    setup_logging()


def described(root: Path) -> Layout:
    """Two shards of one described image each: a table that holds a star."""
    layout = Layout(root, root / ".ouro/cache")
    for number, name in enumerate(NAMES):
        image_id = f"{number:016x}"
        image = Image(image_id, f"shard-{number:05d}/{image_id}.png", 64, 64, f"{number}.png")
        regions = [
            Region(f"{image_id}/0", image_id, None, 0, (0.0, 0.0, 64.0, 64.0), 1.0, "image"),
            Region(f"{image_id}/0.0", image_id, f"{image_id}/0", 1, (4.0, 4.0, 40.0, 40.0), 0.9, "rpn"),
        ]
        texts = ["a scene with a table.", "a table with a star."]
        descriptions = [Description(r.region_id, image_id, t, "test") for r, t in zip(regions, texts, strict=True)]
        write_shard(layout.images / name, Image, [image], n_in=1)
        write_shard(layout.regions / name, Region, regions, n_in=2)
        write_shard(layout.descriptions / name, Description, descriptions, n_in=2)
    return layout


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_a_task_that_fails_once_is_retried(prefect_api: str) -> None:
    from prefect import flow

    from tasks.shards import shard_task

    calls: list[str] = []

    @shard_task(name="flaky")
    def flaky() -> str:
        calls.append("call")
        if len(calls) == 1:
            raise OSError("the disk was busy")
        return "done"

    @flow
    def once() -> str:
        return flaky()

    assert once() == "done"
    assert len(calls) == 2


def test_a_task_with_bad_input_is_not_retried(prefect_api: str) -> None:
    from prefect import flow

    from ouro.core.images import ImageError
    from tasks.shards import shard_task

    calls: list[str] = []

    @shard_task(name="picky")
    def picky() -> None:
        calls.append("call")
        raise ImageError("no_folder", "photos: found nothing; expected a folder of images: correct the path")

    @flow
    def once() -> None:
        picky()

    with pytest.raises(ImageError, match="correct the path"):
        once()
    assert len(calls) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from ouro.core.params import Params
from prefect import flow
from ouro.core.layout import Layout, shard_names
from tasks.merge import merge

layout = Layout(Path(sys.argv[1]), Path(sys.argv[2]))

@flow
def dying() -> None:
    for name in shard_names(layout.descriptions):
        merge(name, layout, Params(), lambda n: os.kill(os.getpid(), signal.SIGKILL))

dying()
"""


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(
    prefect_api: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.merge import merge

    whole = described(tmp_path / "whole")
    merge(Params(), whole)

    killed = described(tmp_path / "killed")
    command = [sys.executable, "-c", KILLED, str(killed.root), str(killed.cache)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PREFECT_API_URL": prefect_api}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert shard_names(killed.scenes) == [NAMES[0]]

    caplog.set_level(logging.INFO, logger="tasks.shards")
    caplog.clear()
    merge(Params(), killed)
    assert [r.getMessage() for r in caplog.records if "restored" in r.getMessage()] == [
        f"merge {NAMES[0]}: restored, nothing to do"
    ]
    assert files_of(killed.scenes) == files_of(whole.scenes)
    assert len(read_all(killed.scenes, Scene)) == 2


DESCRIBING = (
    KILLED.replace("tasks.merge import merge", "tasks.describe import describe")
    .replace(
        "merge(name, layout, Params(), lambda n: os.kill(os.getpid(), signal.SIGKILL))",
        """if name == "shard-00001.parquet":
            os.kill(os.getpid(), signal.SIGKILL)
        describe(name, layout, Params.model_validate({"model": {"processes": 1}}))""",
    )
    .replace("layout.descriptions", "layout.regions")
)


def test_describe_killed_between_shards_describes_nothing_twice(
    prefect_api: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from PIL import Image as PILImage

    from flows.describe import describe

    layouts = [described(tmp_path / "whole"), described(tmp_path / "killed")]
    for layout in layouts:
        for image in read_all(layout.images, Image):
            path = layout.images / image.path
            path.parent.mkdir(parents=True, exist_ok=True)
            PILImage.new("RGB", (64, 64), "red").save(path)
        for path in layout.descriptions.iterdir():
            path.unlink()
    whole, killed = layouts
    alone = Params.model_validate({"model": {"processes": 1}})
    describe(alone, whole)
    command = [sys.executable, "-c", DESCRIBING, str(killed.root), str(killed.cache)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PREFECT_API_URL": prefect_api}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert shard_names(killed.descriptions) == [NAMES[0]]
    caplog.set_level(logging.INFO, logger="tasks.shards")
    caplog.clear()
    describe(alone, killed)
    assert [r.getMessage() for r in caplog.records if "restored" in r.getMessage()] == [
        f"describe {NAMES[0]}: restored, nothing to do"
    ]
    assert files_of(killed.descriptions) == files_of(whole.descriptions)


def test_a_changed_param_is_not_answered_from_the_cache(prefect_api: str, tmp_path: Path) -> None:
    from flows.merge import merge
    from ouro.core.params import Merge

    layout = described(tmp_path)
    merge(Params(), layout)
    long = read_all(layout.scenes, Scene)[0].text
    merge(Params(merge=Merge(max_tokens=4)), layout)
    assert len(read_all(layout.scenes, Scene)[0].text.split()) < len(long.split())


def test_shards_of_a_larger_earlier_run_are_removed(prefect_api: str, tmp_path: Path) -> None:
    from flows.merge import merge

    layout = described(tmp_path)
    merge(Params(), layout)
    for folder in (layout.images, layout.regions, layout.descriptions):
        for path in folder.glob("shard-00001*"):
            path.unlink()
    merge(Params(), layout)
    assert shard_names(layout.scenes) == [NAMES[0]]


def test_the_run_of_a_dead_process_is_swept_and_the_run_of_a_live_one_is_not(prefect_api: str) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    from tasks.processes.prefect_server import process_tag, sweep_stale_runs

    @flow
    def job() -> None: ...

    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    dead = process_tag().rpartition(":")[0] + f":{child.pid}"
    with get_client(sync_client=True) as client:
        runs = {tag: client.create_flow_run(job, state=Running(), tags=[tag]) for tag in (dead, process_tag())}
        assert sweep_stale_runs() == 1
        states = {tag: client.read_flow_run(run.id).state_name for tag, run in runs.items()}
    assert states == {dead: "Crashed", process_tag(): "Running"}


def test_a_nightly_run_of_a_machine_that_had_another_name_is_swept(prefect_api: str) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    from tasks.processes import deployment

    @flow(name="nightly")
    def nightly() -> None: ...

    with get_client(sync_client=True) as client:
        deployment_id = client.create_deployment(client.create_flow(nightly), deployment.NAME)
        run = client.create_flow_run_from_deployment(
            deployment_id, state=Running(), tags=["pid:a-container-that-was:7"]
        )
        assert deployment.sweep(shared=True) == (0, 0), "it may be alive there"
        assert client.read_flow_run(run.id).state_name == "Running"
        assert deployment.sweep() == (1, 0)
        assert client.read_flow_run(run.id).state_name == "Crashed"
        client.delete_deployment(deployment_id)
