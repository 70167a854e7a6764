"""Text of strangers (ids, replies, names of files, answers of servers) as a terminal may show it."""

from __future__ import annotations

import re

# Control characters but tab and line feed (ESC starts commands to the terminal; C1 has one-character forms of them),
# marks that reverse or hide what stands beside them, and halves of characters, which no stream can encode.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with control characters as escapes: ESC becomes the four characters \\x1b."""
    return _UNPRINTABLE.sub(_escape, text.replace("\r\n", "\n"))


def shorten(text: str, limit: int = 2000) -> str:
    """At most `limit` characters of a text: the beginning and the end, and between them how many it has."""
    if len(text) <= limit:
        return text
    mark = f" [... {len(text):,} characters in all ...] "
    end = (limit - len(mark)) // 3
    return text[: limit - len(mark) - end] + mark + text[len(text) - end :]


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
