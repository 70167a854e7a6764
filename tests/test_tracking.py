"""MLflow: a run that goes on after a kill, and a store that does not answer."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
from tiny_training import annotated

from ouro.core.params import Params
from ouro.core.state import State
from tasks import mlflow_pages, tracking, versions
from tasks.models import needs_hub
from tasks.processes.environments import quiet_environment


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv(mlflow_pages.URI, uri)
    monkeypatch.chdir(tmp_path)
    return uri


def test_a_run_that_was_killed_goes_on_and_repeats_no_point(store: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    note = tmp_path / "checkpoints/key.mlflow"
    with pytest.raises(KeyboardInterrupt), tracking.run("train", {"k": "5"}, continued=note) as first:
        for step in (10, 20, 30):
            first.metrics({"loss": 1.0 / step}, step)
        raise KeyboardInterrupt  # the last checkpoint was that of step 20
    assert note.is_file()
    with tracking.run("train", {"k": "5"}, continued=note) as second:
        for step in (30, 40):
            second.metrics({"loss": 1.0 / step}, step)
    assert second.run_id == first.run_id and not note.exists()
    client = MlflowClient(tracking_uri=store)
    assert [point.step for point in client.get_metric_history(first.run_id, "loss")] == [10, 20, 30, 40]
    assert client.get_run(first.run_id).info.status == "FINISHED"
    with tracking.run("train", continued=note) as third:
        assert third.run_id != first.run_id, "a finished run is not gone on with"


def test_a_store_that_does_not_answer_costs_a_warning_and_no_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # nobody listens there
        monkeypatch.setenv(mlflow_pages.URI, f"http://127.0.0.1:{sock.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        worked = False
        with tracking.run("train") as run:
            run.params({"k": 5})
            run.metrics({"loss": 1.0}, 10)
            run.artifact(Path(__file__))
            worked = True
    assert worked
    assert len([r for r in caplog.records if "does not answer" in r.getMessage()]) == 1


@pytest.mark.parametrize("track", [True, False])
def test_a_training_says_how_it_went_and_is_tracked_only_if_wanted(
    track: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], prefect_api: str
) -> None:
    from cli.app import app, guarded
    from tasks.screen import console

    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    monkeypatch.setenv(mlflow_pages.URI, f"sqlite:///{tmp_path / 'mlflow.db'}")
    console.cache_clear()
    annotated(tmp_path / "photos", 2)
    knobs = ["epochs=2", "batch_size=2", "questions=1", "bf16=false", "processes=1"]
    words = ["train", str(tmp_path / "photos"), *([] if track else ["--no-track"])]
    words += [word for knob in knobs for word in ("--set", f"train.{knob}")]
    assert guarded(lambda: app(words, standalone_mode=False)) == 0
    output = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"train: 2 steps, [1-9]\d* tokens/s \(mean\), \d+\.\d minutes", output[-3])
    assert output[-1].startswith(f"adapter: {tmp_path / 'photos/adapter'}, trained for ")
    assert (tmp_path / "photos/adapter/adapter_model.safetensors").is_file()
    assert (tmp_path / "mlflow.db").is_file() is track
    assert not list(tmp_path.rglob("*.mlflow")), "which keep the id of a run"
    if not track:
        assert output[-2] == "MLflow: nothing was tracked"
        return
    match = re.fullmatch(r"MLflow: run (\w+), seen after `uv run mlflow ui --backend-store-uri (\S+) .*`", output[-2])
    assert match and match[2] == os.environ[mlflow_pages.URI]
    store = tracking.client()
    assert store.get_run(match[1]).info.status == "FINISHED"
    assert [point.step for point in store.get_metric_history(match[1], "loss")] == [2]


def test_a_store_that_goes_away_and_comes_back_gets_what_was_logged_meanwhile(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def away(*_: object, **__: object) -> None:
        raise MlflowException("gone")

    with tracking.run("train") as run:
        monkeypatch.setattr(MlflowClient, "log_batch", away)
        run.metrics({"loss": 0.5}, 10)
        run.metrics({"loss": 0.4}, 20)
        monkeypatch.undo()
        run.metrics({"loss": 0.3}, 30)
    points = MlflowClient(tracking_uri=store).get_metric_history(run.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(10, 0.5), (20, 0.4), (30, 0.3)]
    assert len([r for r in caplog.records if "goes on without it" in r.getMessage()]) == 1


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, False),
        ({"ingest": {"source": "hf:beans@train"}}, True),
        ({"propose": {"proposers": ["grounding"], "grounding_model": "someone/dino"}}, True),
        ({"propose": {"proposers": ["rpn"], "grounding_model": "someone/dino"}}, False),
        ({"propose": {"proposers": ["grounding"], "grounding_model": "."}}, False),
    ],
)
def test_the_hub_is_asked_only_where_params_name_something_there(
    knobs: dict[str, object], expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    online = needs_hub(Params.model_validate(knobs))
    assert online == expected
    assert quiet_environment(State(tmp_path), online=online).get("HF_HUB_OFFLINE") == (None if expected else "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" not in quiet_environment(State(tmp_path), online=online), "a person's own stays"


def test_without_git_a_run_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert versions.provenance() == {"git_commit": "none", "dvc_lock": "none"}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert versions.provenance() == {"git_commit": "none", "dvc_lock": "none"}


def test_the_page_that_compares_names_every_run_and_its_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    query = "/#/compare-runs?runs=%5B%22a%22%2C%20%22b%22%5D&experiments=%5B%227%22%5D"
    monkeypatch.delenv(mlflow_pages.URI, raising=False)
    assert mlflow_pages.compare_url("7", ["a", "b"]) == f"http://127.0.0.1:5000{query}"
    monkeypatch.setenv(mlflow_pages.URI, "http://elsewhere:8080/")
    assert mlflow_pages.compare_url("7", ["a", "b"]) == f"http://elsewhere:8080{query}"
