"""The openai backend: its key, its address, and what `ouro doctor` says of a server."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import (
    SECRET,
    FakeServer,
    fake_server,
    picture,
    pictures_of,
    reach_directly,
    record_waits,
    says,
    status,
)

from cli import doctor
from ouro.vision.openai import (
    KEY,
    OpenAIVisionLM,
    ServerRefused,
    ServerUnavailable,
    openai_fingerprint,
)
from ouro.vision.protocols import Request

NANO = Path(__file__).resolve().parent.parent / "models/nano"


@pytest.fixture(autouse=True)
def _no_proxy_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    reach_directly(monkeypatch)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return record_waits(monkeypatch)


# ---- the key ---------------------------------------------------------------------------------------------


def test_the_key_goes_into_the_header_and_nowhere_else(
    server: FakeServer, waits: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    for name in ("", "openai", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    excerpt = b"x" * 190 + SECRET.encode()  # a server that repeats it, where an error's excerpt of the body ends
    server.script = [status(500, excerpt), says(excerpt), status(401, excerpt)]
    with pytest.raises(ServerRefused) as caught:
        server.vlm().generate([Request((picture(1),), "hello")], max_new_tokens=4)
    server.script = [says(excerpt)]
    with pytest.raises(ServerUnavailable) as second_error:
        server.vlm(retries=0).generate([Request((), "hello")], max_new_tokens=4)
    assert server.keys == [f"Bearer {SECRET}"] * 4
    assert "HTTP Response: POST 500" in caplog.text  # the client's debug log is heard
    for error in (caught.value, second_error.value):
        assert "***" in str(error)
        for text in (caplog.text, str(error), repr(error), "".join(traceback.format_exception(error))):
            assert SECRET[:8] not in text


def test_a_key_that_no_header_can_hold_is_refused_unseen(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-with-a\x07bell")
    with pytest.raises(ServerRefused, match="printable") as caught:
        server.vlm().generate([Request((), "hello")], max_new_tokens=4)
    assert "sk-" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_wants_no_key_gets_none_of_ours(server: FakeServer) -> None:
    server.vlm().generate([Request((), "hello")], max_new_tokens=4)
    assert server.keys == ["Bearer EMPTY"]


def test_the_fingerprint_holds_server_model_and_sizes_and_needs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://203.0.113.1:1/v1"
    first = openai_fingerprint(url, "m")
    monkeypatch.setenv(KEY, SECRET)
    assert openai_fingerprint(url + "/", "m") == first == OpenAIVisionLM(url, "m", 4, 9.0, 2).fingerprint
    others = [openai_fingerprint("http://203.0.113.2:1/v1", "m"), openai_fingerprint(url, "n")]
    assert len({first, *others, openai_fingerprint(url, "m", 28)}) == 4


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://h/v1", "http:///v1", "http://u:hunter2@h/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ServerRefused, match=r"model\.url") as caught:
        OpenAIVisionLM(url, "m", 4, 9.0, 2)
    assert "hunter2" not in str(caught.value)


def test_a_model_without_a_name_is_refused() -> None:
    with pytest.raises(ServerRefused, match=r"model\.name"):
        OpenAIVisionLM("http://127.0.0.1:8000/v1", "", 4, 9.0, 2)


# ---- ouro doctor -------------------------------------------------------------------------------------------


def _params(folder: Path, monkeypatch: pytest.MonkeyPatch, **model: object) -> None:
    (folder / "params.yaml").write_text(json.dumps({"model": {"base": str(NANO), **model}}))
    monkeypatch.chdir(folder)


def test_doctor_asks_the_server_with_the_key_that_is_there(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _params(tmp_path, monkeypatch, backend="openai", url=server.url, name="m")
    [finding] = doctor.server()
    assert (finding.verdict, finding.detail) == ("ok", f"{server.url} answers as m; no {KEY}, and none is wanted")
    assert len(pictures_of(server.bodies[0])) == 1
    monkeypatch.setenv(KEY, SECRET)
    [finding] = doctor.server()
    assert finding.detail.endswith(f"{KEY} is set")
    assert server.keys == ["Bearer EMPTY", f"Bearer {SECRET}"]


def test_doctor_says_that_a_key_is_wanted_or_the_server_not_there(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _params(tmp_path, monkeypatch, backend="openai", url=server.url, name="m", base="models/none")
    server.script = [status(401)]
    [finding] = doctor.server()
    assert (finding.what, finding.verdict) == ("model server", "missing")
    assert "status 401" in finding.detail and finding.mend.startswith(f"set {KEY}")
    base = next(f for f in doctor.model() if f.what == "model.base")
    assert base.verdict == "note" and base.mend.startswith("only to train")
    server.shutdown()
    server.server_close()
    [finding] = doctor.server()
    assert finding.mend.startswith("start the server")


def test_doctor_asks_no_server_where_none_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _params(tmp_path, monkeypatch, backend="hf", url="http://203.0.113.1:1/v1")
    assert doctor.server() == []
