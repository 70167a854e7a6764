"""Shards that a server's model made: another model behind the same address makes its own, and that is counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from described import NAMES, described
from openai_server import FakeServer, Handler, completion, echo, fake_server, reach_directly, record_waits
from PIL import Image as PILImage

from flows.annotate import ASKING
from flows.shards import WHOLE, over_shards
from ouro.core.artifacts import read_all, read_sidecar
from ouro.core.layout import Layout
from ouro.core.params import Params
from ouro.core.records import Description, Image
from ouro.vision.identity import PROBES
from ouro.vision.server_errors import ServerUnavailable
from tasks.annotation_results import asked_work
from tasks.describe import describe
from tasks.served import find_answerer
from tasks.settings import agreed
from tasks.shards import Work
from tasks.sharing import shared

PROPOSER = str(Path(__file__).resolve().parents[1] / "models/nano/rpn")
N_REGIONS = 2 * len(NAMES)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Four shards of two regions each, none described, in a folder of its own."""
    reach_directly(monkeypatch)
    record_waits(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.shards.count_artifact", lambda *_: None)  # it needs a Prefect server
    layout = described(tmp_path / "out")
    for image in read_all(layout.images, Image):
        PILImage.new("RGB", (image.width, image.height), "red").save(layout.images / image.path)
    shutil.rmtree(layout.descriptions)
    return layout


def says(text: str | None) -> Callable[[Handler, str], None]:
    """A model that describes everything alike; what it says to probes names it, too."""

    def answer(h: Handler, prompt: str) -> None:
        h.send(200, completion(text, "stop" if text else "length")) if prompt not in PROBES else echo(h, f"{text}")

    return answer


def params_for(server: FakeServer) -> Params:
    model = {"backend": "openai", "url": server.url, "name": "m", "retries": 1, "proposer": PROPOSER}
    settings = {"prompt": "what is there?", "name": "derived", "confidence": False}
    return Params.model_validate({"model": model, "describe": settings})


def annotate(server: FakeServer, layout: Layout, ask_again: bool = False) -> tuple[Work, int]:
    """Stage describe as `ouro annotate` has it, without Prefect; its work, and how often it asked."""
    params = params_for(server)
    server.bodies.clear()
    find_answerer(params.model, required=True)
    regions = {p.name: p.read_bytes() for p in layout.regions.iterdir()}
    with shared(layout, agreed(params), ASKING if ask_again else ()) as lease:
        lease.ingest_once("photos", lambda: None)
        for name, content in regions.items():  # a new beginning removes them, since propose makes them again
            layout.regions.mkdir(exist_ok=True)
            (layout.regions / name).write_bytes(content)
        shard_task: Any = describe.fn
        done = over_shards("describe", shard_task, layout, params, WHOLE, size=lambda name: 2, unit="regions")
    return done.work, sum(server.prompt(body) == "what is there?" for body in server.bodies)


def texts(layout: Layout) -> set[str]:
    return {d.text for d in read_all(layout.descriptions, Description)}


def makers(layout: Layout) -> set[str]:
    return {d.annotator for d in read_all(layout.descriptions, Description)}


ASKED, KEPT = (Work("regions", 0, N_REGIONS), N_REGIONS), (Work("regions", N_REGIONS, 0), 0)


def test_shards_of_another_model_behind_the_address_are_not_taken(
    server: FakeServer, layout: Layout, capfd: pytest.CaptureFixture[str]
) -> None:
    server.otherwise = says("a red cup on a table.")
    assert annotate(server, layout) == ASKED and texts(layout) == {"a red cup on a table."}
    first = makers(layout)
    assert len(first) == 1 and annotate(server, layout) == KEPT
    capfd.readouterr()

    server.otherwise = says("a blue car on a street.")
    assert annotate(server, layout) == ASKED and texts(layout) == {"a blue car on a street."}
    assert makers(layout).isdisjoint(first)
    out = capfd.readouterr().out
    assert "another model answers than the last time" in out and "weights.describe" in out

    server.otherwise = says("a red cup on a table.")
    assert annotate(server, layout) == KEPT and makers(layout) == first, "the first one's shards are there still"


def test_ask_again_uses_no_shard_that_was_kept(server: FakeServer, layout: Layout) -> None:
    server.otherwise = says("a red cup on a table.")
    annotate(server, layout)
    assert annotate(server, layout, ask_again=True) == ASKED
    assert annotate(server, layout) == KEPT


def test_a_server_that_is_away_leaves_what_is_kept_and_the_rest_is_refused(
    layout: Layout, capfd: pytest.CaptureFixture[str]
) -> None:
    with fake_server() as server:
        server.otherwise = says("a red cup on a table.")
        annotate(server, layout)
    first = makers(layout)
    assert annotate(server, layout) == KEPT and makers(layout) == first
    assert "as of the model that last answered there" in capfd.readouterr().out
    with pytest.raises(ServerUnavailable, match="start the server"):
        annotate(server, layout, ask_again=True)


def test_where_nobody_ever_answered_nothing_is_begun(layout: Layout) -> None:
    with fake_server() as server:
        pass
    with pytest.raises(ServerUnavailable, match="start the server"):
        annotate(server, layout)
    assert not layout.descriptions.exists()


def test_regions_without_a_reply_are_rejected_with_a_reason(server: FakeServer, layout: Layout) -> None:
    server.otherwise = says(None)
    annotate(server, layout)
    assert texts(layout) == set()
    assert [dict(read_sidecar(layout.descriptions / name).rejected) for name in NAMES] == [{"empty_reply": 2}] * 4


def test_the_summary_counts_what_the_stages_asked_that_ask(server: FakeServer) -> None:
    work = {"propose": Work("images", 1, 2), "describe": Work("regions", 3, 4), "merge": Work("images", 5, 6)}
    assert asked_work(params_for(server), work) == {"describe": {"unit": "regions", "kept": 3, "made": 4}}
