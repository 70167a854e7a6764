"""A redirect to another server takes neither picture nor key along; one within the server is followed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai_server import SECRET, FakeServer, fake_server, picture, reach_directly, status

from ouro.vision.openai import KEY, ServerRefused
from ouro.vision.protocols import Request


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    reach_directly(monkeypatch)


@pytest.fixture
def servers() -> Iterator[tuple[FakeServer, FakeServer]]:
    with fake_server() as asked, fake_server() as other:
        yield asked, other


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_another_server_is_sent_nothing(
    servers: tuple[FakeServer, FakeServer], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    asked, other = servers
    asked.script = [status(code, Location=f"{other.url}/chat/completions")] * 9
    with pytest.raises(ServerRefused, match=rf"redirects to {other.url}/chat/completions: another server.*model\.url"):
        asked.vlm().generate([Request((picture(1),), "hello")], max_new_tokens=4)
    assert len(asked.bodies) == 1  # a redirect does not pass by itself
    assert (other.bodies, other.keys) == ([], [])


@pytest.mark.parametrize("code", [307, 308])
def test_a_redirect_within_the_server_is_followed(servers: tuple[FakeServer, FakeServer], code: int) -> None:
    asked, _ = servers
    asked.script = [status(code, Location="/v1/chat/completions/")]
    assert asked.vlm().generate([Request((picture(1),), "hello")], max_new_tokens=4) == ["hello"]


def test_a_server_that_redirects_in_circles_is_left(servers: tuple[FakeServer, FakeServer]) -> None:
    asked, _ = servers
    asked.script = [status(307, Location="/v1/chat/completions/")] * 99
    with pytest.raises(ServerRefused, match="status 307"):
        asked.vlm().generate([Request((picture(1),), "hello")], max_new_tokens=4)
    assert len(asked.bodies) == 6
