"""Addresses of the environment at which nothing answers, or something else: a sentence, exit code 2, within seconds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from addresses import dead, foreign, listener
from pictures import random_picture
from tiny_training import BASE, annotated

from cli.app import app, guarded
from cli.servers import addresses, servers
from ouro.core.endpoints import ask, masked
from ouro.core.hub import ENDPOINT, endpoint_problem
from ouro.core.state import State
from ouro.ingest.hf_dataset import DatasetError, open_dataset
from tasks import mlflow_pages, tracking, versioning
from tasks.mlflow_store import StoreError, check_store
from tasks.processes.prefect_server import prefect_server
from tasks.processes.server import PrefectAddressError, healthy
from tasks.remotes import Remote, default_remote, remote_problem
from tasks.screen import console

pytestmark = pytest.mark.timeout(240)  # nothing waits for ever for who does not answer

PREFECT = "PREFECT_API_URL"
NOT_HTTP = b"-ERR unknown command\r\n"


@pytest.fixture(autouse=True)
def fresh_console() -> None:
    console.cache_clear()


def _run(*words: str) -> int:
    return guarded(lambda: app(list(words), standalone_mode=False))


def _check_sentence(err: str, *parts: str) -> None:
    """One sentence, and neither a traceback nor a word of a defect."""
    text = " ".join(err.split())
    assert all(part in text for part in parts), err
    assert "Traceback" not in err and "defect" not in err and err.count("error:") == 1


def test_what_answers_is_said() -> None:
    assert ask(dead()).problem == "where nothing listens (connection refused)"
    with foreign() as url:
        assert ask(url).what == "where something else answers (404, text/html)"
    with listener(NOT_HTTP) as url:
        assert ask(url).problem == "where something answers that does not speak HTTP"
    with listener() as url:
        assert ask(url, 1.0).problem == "where nothing answers within 1 s"
    for address in ("ftp://host/x", "localhost:4200", "file:///etc/passwd", ""):
        assert "begins with http:// or https://" in ask(address).problem
    for address in ("http://[bad/x", "http://127.0.0.1:99999/x", "http://127.0.0.1:port/x", "http://a b/"):
        assert ask(address).problem, address


def test_a_long_reply_is_not_read_to_its_end() -> None:
    with foreign(200, b"x" * 2_000_000) as url:
        assert len(ask(url).body) < 100_000


def test_no_password_is_in_a_message() -> None:
    assert masked("postgresql://ouro:SECRET@db:5432/mlflow") == "postgresql://***@db:5432/mlflow"
    assert masked("https://host/api?key=SECRET#x") == "https://host/api"
    assert "SECRET" not in masked("http://a:SECRET@[bad/")


ADDRESSES: list[tuple[Callable[[], object], str]] = [
    (lambda: dead(), "nothing listens"),
    (lambda: foreign(), "something else answers (404, text/html)"),
    (lambda: foreign(200, b"<html>login</html>"), "something else answers (200, text/html)"),
    (lambda: listener(NOT_HTTP), "does not speak HTTP"),
    (lambda: "localhost:4200/api", "begins with http:// or https://"),
    (lambda: "http://[bad/api", "no address"),
]


def _within(made: object, check: Callable[[str], None]) -> None:
    if isinstance(made, str):
        check(made)
    else:
        with made as url:  # type: ignore[attr-defined]
            check(url)


@pytest.mark.parametrize(("make", "what"), ADDRESSES)
def test_annotate_says_that_no_prefect_server_answers(
    make: Callable[[], object],
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def check(url: str) -> None:
        monkeypatch.setenv(PREFECT, url)
        photos = tmp_path / "photos"
        photos.mkdir()
        random_picture(1, (64, 48)).save(photos / "a.png")
        code = _run("annotate", str(photos), "--out", str(tmp_path / "out"))
        assert code == 2
        _check_sentence(capfd.readouterr().err, f"{PREFECT} (environment variable): got {url}", what, "unset it")
        [finding] = servers()
        assert finding.verdict == "missing" and what in finding.detail and "unset it" in finding.mend

    _within(make(), check)


def test_train_says_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    annotated(tmp_path / "photos", 1)
    monkeypatch.setenv(PREFECT, dead())
    assert _run("train", str(tmp_path / "photos"), "--no-track", "--model", str(BASE)) == 2
    _check_sentence(capfd.readouterr().err, f"{PREFECT} (environment variable)", "nothing listens")


def test_a_profile_is_named_where_it_has_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PREFECT, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    url = dead()
    (tmp_path / "profiles.toml").write_text(f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{url}"\n')
    with (
        pytest.raises(PrefectAddressError, match=rf"of {tmp_path}/profiles\.toml\): got {url}"),
        prefect_server(State(tmp_path / "state")),
    ):
        pass


def test_a_refused_password_is_a_sentence(prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    monkeypatch.setenv(PREFECT, prefect_api)
    with (
        temporary_settings({PREFECT_API_AUTH_STRING: "admin:wrong"}),
        pytest.raises(PrefectAddressError, match="refuses these credentials"),
        prefect_server(State(tmp_path)),
    ):
        pass


def test_a_server_that_is_none_is_not_healthy() -> None:
    with listener(NOT_HTTP) as url:
        assert not healthy(url)


@pytest.mark.parametrize(("make", "what"), ADDRESSES)
def test_train_and_benchmark_say_that_no_mlflow_answers(
    make: Callable[[], object],
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def check(url: str) -> None:
        monkeypatch.setenv(mlflow_pages.URI, url)
        annotated(tmp_path / "photos", 1)
        for words in (
            ("train", str(tmp_path / "photos"), "--model", str(BASE)),
            ("benchmark", "--benchmarks", "docvqa", "--out", str(tmp_path / "run"), "--model", str(BASE)),
        ):
            assert _run(*words) == 2
            _check_sentence(capfd.readouterr().err, f"{mlflow_pages.URI} (environment variable): got", "unset it")
        monkeypatch.setattr("tasks.remotes.default_remote", lambda: None)
        assert [(f.what, f.verdict) for f in addresses()] == [("MLflow", "missing")]

    _within(make(), check)


@pytest.mark.parametrize(
    "uri", ["nonsense://host/x", "file:///proc/none/mlruns", "sqlite:////proc/none/m.db", "mysql+nodriver://", "[bad"]
)
def test_a_store_that_mlflow_cannot_use_is_a_sentence(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mlflow_pages.URI, uri)
    with pytest.raises(StoreError, match=rf"{mlflow_pages.URI} \(environment variable\): got .*Fix: correct it"):
        check_store(unattended=True)


def test_a_dead_database_is_found_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    port = dead().rpartition(":")[2]
    monkeypatch.setenv(mlflow_pages.URI, f"postgresql://ouro:SECRET@127.0.0.1:{port}/mlflow")
    with pytest.raises(StoreError, match="nothing listens") as caught:
        check_store()
    assert "SECRET" not in str(caught.value)
    check_store(unattended=True)  # a nightly round goes on without


def test_a_round_goes_on_without_a_server_that_is_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(mlflow_pages.URI, dead())
    check_store(unattended=True)
    with tracking.run("train") as run:
        run.metrics({"loss": 1.0}, 1)
    assert len(caplog.records) == 1 and "nothing listens" in caplog.text
    with foreign() as url, pytest.raises(StoreError, match="something else answers"):
        monkeypatch.setenv(mlflow_pages.URI, url)
        check_store(unattended=True)


def test_servers_that_are_mlflow_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for status, body in ((200, b"OK"), (200, b'{"experiment": {}}'), (404, b'{"error_code": "X"}'), (401, b"")):
        with foreign(status, body, "application/json") as url:
            monkeypatch.setenv(mlflow_pages.URI, url)
            check_store()


def test_a_store_that_dies_in_the_middle_costs_no_time_and_gets_the_rest_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each write to a server that is gone takes up to a minute; one is tried, and what waits is sent at the end."""
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(mlflow_pages.URI, f"sqlite:///{tmp_path / 'mlflow.db'}")
    tried: list[str] = []

    def away(*_: object, **__: object) -> None:
        tried.append("write")
        raise ValueError("Expecting value: line 1 column 1 (char 0)")  # what a gateway's HTML becomes

    (tmp_path / "notes.txt").write_text("of the run")
    with tracking.run("train") as run:
        monkeypatch.setattr(MlflowClient, "log_batch", away)
        monkeypatch.setattr(MlflowClient, "log_artifact", away)
        for step in range(20):
            run.metrics({"loss": 1.0 / (step + 1)}, step)
        run.tags({"notes": "kept"})
        run.artifact(tmp_path / "notes.txt")
        assert tried == ["write"], "the others wait"
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(mlflow_pages.URI, f"sqlite:///{tmp_path / 'mlflow.db'}")
    store = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    stored = store.get_run(run.run_id)
    assert stored.info.status == "FINISHED" and stored.data.tags["notes"] == "kept"
    assert [point.step for point in store.get_metric_history(run.run_id, "loss")] == list(range(20))
    assert [file.path for file in store.list_artifacts(run.run_id)] == ["notes.txt"]
    assert len([r for r in caplog.records if "goes on without it" in r.getMessage()]) == 1


@pytest.mark.parametrize(("make", "what"), ADDRESSES)
def test_a_hub_that_is_none_is_told_from_a_dataset_that_is_not_there(
    make: Callable[[], object], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(url: str) -> None:
        monkeypatch.setenv(ENDPOINT, url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        assert what in endpoint_problem() and f"{ENDPOINT} (environment variable): got {url}" in endpoint_problem()

    _within(make(), check)


def test_a_mirror_of_the_hub_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for status, body in ((200, b'{"id": "nyu-mll/glue"'), (404, b'{"error": "Repository not found"}'), (401, b"no")):
        with foreign(status, body, "application/json") as url:
            monkeypatch.setenv(ENDPOINT, url)
            assert endpoint_problem() == ""


def test_a_dataset_says_so_in_its_own_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library was imported with another endpoint: what counts is that the sentence names the one that is set."""
    monkeypatch.setenv(ENDPOINT, dead())
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("datasets.load_dataset", _unreachable)
    with pytest.raises(DatasetError, match=rf"dataset hf:org/name@train: {ENDPOINT} \(environment variable\): got"):
        open_dataset("hf:org/name@train", "image")


def _unreachable(*_: object, **__: object) -> None:
    raise ConnectionError("Couldn't reach 'org/name' on the Hub (LocalEntryNotFoundError)")


REMOTES = [
    ("s3://bucket/x", "", False, "needs the package dvc-s3"),
    ("gs://bucket/x", "", False, "needs the package dvc-gs"),
    ("nosuch://x", "", False, "expected a folder or one of s3"),
    ("", "", False, "no url"),
    ("http://[bad", "", False, "no address"),
]


@pytest.mark.parametrize(("url", "endpoint", "passing", "what"), REMOTES)
def test_a_remote_that_can_never_be_sent_to(url: str, endpoint: str, passing: bool, what: str) -> None:
    problem = remote_problem(Remote("store", url, endpoint))
    assert what in problem.text and problem.passing is passing and "Fix: " in problem.text


def test_a_remote_that_does_not_answer_may_answer_later(monkeypatch: pytest.MonkeyPatch) -> None:
    url = dead()
    problem = remote_problem(Remote("store", f"{url}/data"))
    assert (
        problem.passing and f"DVC's remote store (.dvc/config): got {url}/data, where nothing listens" in problem.text
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    problem = remote_problem(Remote("store", "s3://bucket/x", url))
    assert problem.passing and f"its endpoint {url}, where nothing listens" in problem.text
    assert remote_problem(Remote("store", "/a/folder")).text == ""


def test_a_push_and_a_round_say_what_is_wrong_with_the_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        ["git", "init", "-q"], ["git", "config", "user.name", "N"], ["git", "config", "user.email", "n@example.org"],
        ["python", "-m", "dvc", "init", "-q"], ["python", "-m", "dvc", "remote", "add", "-q", "-d", "store", "s3://b/x"],
    ):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    for command in (["git", "add", "-A"], ["git", "commit", "-qm", "remote"]):
        subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    assert default_remote() == Remote("store", "s3://b/x")
    with pytest.raises(
        versioning.VersioningError, match=r"dvc push: .*needs the package dvc-s3.*The round is finished"
    ):
        versioning.push_data()
    with pytest.raises(versioning.VersioningError, match=r"needs the package dvc-s3.*or run without --commit"):
        versioning.check_commit("round-001")
