"""The body of a server's response: a chat completion with text, whole or in parts, or one error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ouro.vision.transport import reply_of


def body(content: Any, reason: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": {"content": content}, "finish_reason": reason}]}).encode()


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        ("a cup", "a cup"),
        ([{"type": "text", "text": "a red "}, {"type": "text", "text": "cup"}], "a red cup"),
        ([{"type": "thinking", "text": "let me see"}, {"type": "text", "text": "a cup"}], "a cup"),
        ([], ""),
        (None, ""),
    ],
)
def test_the_text_is_that_of_the_message_or_of_its_parts(content: Any, reply: str) -> None:
    assert reply_of(body(content)) == reply


@pytest.mark.parametrize(
    "got",
    [b"[" * 200_000, b"{" * 200_000, b"", b"null", b"[]", b"\xff", body(7), body(["a cup"]), body([{"text": "a"}])],
)
def test_any_other_body_is_one_value_error(got: bytes) -> None:
    with pytest.raises(ValueError, match=r"no chat completion|no text"):
        reply_of(got)
