"""A server's address is a plain one: no key in it is kept with the results, shown by Prefect, or printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ouro.core.params import ParamsError, load_params
from ouro.core.urls import url_problem
from tasks.settings import CommandOptions, apply_options

SECRETS = (
    "http://host:8000/v1?api_key=sk-secret", "http://host/v1#sk-secret", "https://user:sk-secret@host/v1",
    "https://sk-secret@host/v1", "http://[bad/v1?key=sk-secret", "http://host:99999/v1?key=sk-secret",
)  # fmt: skip
BAD = ("http://[bad/v1", "http://host:99999/v1", "http://host:x/v1", "nonsense", "ftp://host/v1", "http://",
       "http://ho st/v1", "http://host/\x1b[31m", "")  # fmt: skip


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "https://host/v1/", "http://[::1]:8000/v1"])
def test_a_plain_address_is_taken(url: str) -> None:
    assert url_problem(url) == ""


@pytest.mark.parametrize("url", SECRETS)
def test_an_address_with_a_key_is_refused_and_the_key_is_not_repeated(tmp_path: Path, url: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f'model:\n  url: "{url}"\n')
    params = load_params(Path("profiles/paper.yaml"))
    for attempt in (
        lambda: load_params(file),
        lambda: load_params(Path("profiles/paper.yaml"), (f"model.url={url}",)),
        lambda: apply_options(params, CommandOptions("photos", url=url)),
    ):
        with pytest.raises(ParamsError, match=r"model\.url: got one with .*OPENAI_API_KEY") as caught:
            attempt()
        assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_address_is_a_sentence(url: str) -> None:
    with pytest.raises(ParamsError, match=r"model\.url: got .*expected one like"):
        apply_options(load_params(Path("profiles/paper.yaml")), CommandOptions("photos", url=url))
