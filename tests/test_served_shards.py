"""Shards that a server's model made: another model behind the same address makes its own, and that is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai_server import FakeServer, Handler, completion, echo, fake_server, reach_directly, record_waits
from PIL import Image as PILImage

from flows.annotate import run
from flows.shards import WHOLE
from ouro.core.artifacts import read_all
from ouro.core.layout import layout_of
from ouro.core.params import Params
from ouro.core.records import Description
from ouro.vision.identity import PROBES
from ouro.vision.server_errors import ServerUnavailable

OUT = Path("out")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> Path:
    """A folder with two photos; a Prefect server is there."""
    reach_directly(monkeypatch)
    record_waits(monkeypatch)
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, color in enumerate(("red", "blue")):
        PILImage.effect_noise((64, 64), 40 + 40 * number).convert("RGB").save(tmp_path / f"photos/{color}.png")
    return tmp_path


def says(text: str | None) -> Callable[[Handler, str], None]:
    """A model that describes everything alike; what it says to probes names it, too."""

    def answer(h: Handler, prompt: str) -> None:
        h.send(200, completion(text, "stop" if text else "length")) if prompt not in PROBES else echo(h, f"{text}")

    return answer


def annotate(server: FakeServer, ask_again: bool = False) -> int:
    """Annotate the photos; how many regions the model was asked to describe."""
    model = {"backend": "openai", "url": server.url, "name": "m", "retries": 1}
    sections = {
        "model": model,
        "ingest": {"source": str(Path("photos").resolve()), "shard_images": 1},
        "propose": {"proposers": ["selective-search"], "max_depth": 0},
        "describe": {"prompt": "what is there?", "name": "derived", "confidence": False},
        "synthesize": {"writer": "vlm", "template": "instructed"},
    }
    server.bodies.clear()
    run(Params.model_validate(sections), OUT, WHOLE, ask_again)
    return sum(server.prompt(body) == "what is there?" for body in server.bodies)


def texts() -> set[str]:
    return {d.text for d in read_all(layout_of(OUT).descriptions, Description)}


def makers() -> set[str]:
    return {d.annotator for d in read_all(layout_of(OUT).descriptions, Description)}


def test_shards_of_another_model_behind_the_address_are_not_taken(
    server: FakeServer, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.otherwise = says("a red cup on a table.")
    n_regions = annotate(server)
    first = makers()
    assert n_regions >= 2 and texts() == {"a red cup on a table."} and len(first) == 1
    assert f"replies: describe 0 regions kept from earlier runs, {n_regions} asked; " in capfd.readouterr().out
    assert annotate(server) == 0
    assert f"replies: describe {n_regions} regions kept from earlier runs, 0 asked; " in capfd.readouterr().out
    summary = json.loads((OUT / "summary.json").read_text())
    assert summary["replies"]["describe"] == {"unit": "regions", "kept": n_regions, "made": 0}

    server.otherwise = says("a blue car on a street.")
    assert annotate(server) == n_regions and texts() == {"a blue car on a street."} and makers().isdisjoint(first)
    out = capfd.readouterr().out
    assert "another model answers than the last time" in out and "weights.describe" in out

    server.otherwise = says("a red cup on a table.")
    assert annotate(server) == 0 and makers() == first, "the first one's shards are there still"
    assert annotate(server, ask_again=True) == n_regions and makers() == first
    assert annotate(server) == 0


def test_a_server_that_is_away_leaves_what_is_kept_and_the_rest_is_refused(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with fake_server() as server:
        server.otherwise = says("a red cup on a table.")
        annotate(server)
    first = makers()
    assert annotate(server) == 0 and makers() == first
    assert "as of the model that last answered there" in capfd.readouterr().out
    with pytest.raises(ServerUnavailable, match="start the server"):
        annotate(server, ask_again=True)


def test_where_nobody_ever_answered_nothing_is_begun(checkout: Path) -> None:
    with fake_server() as server:
        pass
    with pytest.raises(ServerUnavailable, match="start the server"):
        annotate(server)
    assert not OUT.exists()


def test_regions_without_a_reply_are_rejected_with_a_reason(server: FakeServer, checkout: Path) -> None:
    server.otherwise = says(None)
    annotate(server)
    assert texts() == set()
    assert set(json.loads((OUT / "summary.json").read_text())["rejected"]["describe"]) == {"empty_reply"}
