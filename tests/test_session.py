"""What Prefect's own API tells of our runs: names that a person knows, tags, and one address for every command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from described import NAMES, described

from ouro.core.layout import Layout
from ouro.core.params import Params

ROOT = Path(__file__).resolve().parent.parent


def runs_tagged(tag: str) -> list[Any]:
    """The flow runs that carry a tag, as the server has them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag])))


def task_names(flow_run: Any) -> list[str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        run_filter = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
        return sorted(run.name for run in client.read_task_runs(flow_run_filter=run_filter))


def python(code: list[str], folder: Path, prefect_api: str, **environment: str) -> str:
    """Run Python in `folder`; what it prints."""
    env = {**os.environ, "PREFECT_API_URL": prefect_api, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, *code], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A folder with params.yaml and a described data/."""
    described(tmp_path / "data")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    return tmp_path


@pytest.mark.parametrize(("number", "name"), [("31", "merge, round 31"), ("", "merge")])
def test_a_stage_is_called_by_its_name_and_its_round(number: str, name: str, prefect_api: str, pipeline: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.merge"], cwd=pipeline, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PREFECT_API_URL": prefect_api, "PYTHONPATH": str(ROOT), "OURO_ROUND": number},
    )  # fmt: skip
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert "Prefect:" not in output, "whoever started the stage has printed the address"
    (run,) = [run for run in runs_tagged(f"pid:{os.uname().nodename}:{process.pid}") if run.name.startswith("merge")]
    assert run.name == name
    assert (f"round:{number}" in run.tags) == bool(number)
    assert task_names(run) == [f"merge, {shard}" for shard in NAMES]


SESSION = """
import sys
from pathlib import Path
from flows.merge import merge
from flows.session import session
from ouro.core.layout import layout_of
from ouro.core.params import Params

with session("a-label-of-this-test"):
    merge(Params(), layout_of(Path(sys.argv[1])))
"""


def test_a_session_prints_one_address_and_tags_its_runs(prefect_api: str, tmp_path: Path) -> None:
    layout = described(tmp_path / "photos")
    output = python(["-c", SESSION, str(layout.root)], tmp_path, prefect_api)
    assert output.count(f"Prefect: {prefect_api.removesuffix('/api')}") == 1
    (run,) = runs_tagged("a-label-of-this-test")
    assert run.name == f"merge, {layout.root}"
    assert any(tag.startswith("pid:") for tag in run.tags)


def test_a_round_and_an_annotation_are_called_by_what_they_work_on(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow, tags

    from flows import annotate, round
    from flows.shards import WHOLE, Work
    from tasks.processes.stage import STAGES

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(round, "repro_stage", lambda stage, force: 2.0)
    monkeypatch.setattr(round, "judge", lambda params, annotator, seconds, run_id: (params.round, annotator, seconds))
    with tags("names-of-a-round"):
        seconds, finished = round.bootstrap(Params(round=7), False, "none")
    assert seconds == dict.fromkeys(STAGES, 2.0)
    assert finished == (7, "models/nano", seconds)
    (run,) = runs_tagged("names-of-a-round")
    assert run.name == "round 7"
    expected = sorted([*(f"repro {stage}" for stage in STAGES), "judge round 7"])
    deadline = time.monotonic() + 60  # the server hears of task runs by events, late on a busy machine
    while task_names(run) != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    assert task_names(run) == expected

    ran: list[str] = []
    for name in ("propose", "describe", "merge", "synthesize"):

        def stage(params: Params, layout: Layout, share: object, name: str = name) -> Work:
            ran.append(name)
            return Work("shards", 0, 1)

        monkeypatch.setattr(annotate, name, flow(name=name)(stage))

    class FolderLease:
        def ingest_once(self, collection: str | None, ingest: object) -> None:
            ran.append("ingest")

    out = tmp_path / "out"
    with tags("names-of-an-annotation"):
        clock, work = annotate.annotate(Params(), Layout(out, out / ".ouro/cache"), WHOLE, FolderLease())  # type: ignore[arg-type]
    assert list(work) == ran[1:]
    assert list(clock) == ran == ["ingest", "propose", "describe", "merge", "synthesize"]
    assert f"annotate, {out}" in [run.name for run in runs_tagged("names-of-an-annotation")]


def test_a_night_is_called_by_the_time_it_was_scheduled_for(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import tags

    from flows.nightly import nightly

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.bootstrap.run", lambda *_, rounds, commit: f"{rounds} round, commit {commit}")
    with tags("name-of-a-night"):
        state = nightly(return_state=True)
    assert state.message == "1 round, commit True"
    (run,) = runs_tagged("name-of-a-night")
    assert re.fullmatch(r"nightly, \d{4}-\d\d-\d\d \d\d:\d\d", run.name)
    assert any(tag.startswith("pid:") for tag in run.tags), "a sweep finds it"
