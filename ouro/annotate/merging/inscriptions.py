"""Text that OCR read in a region, and the annotator's own reading of it: it stands once, quoted.

Two readings are of one text when they differ in case, spacing and marks, and in at most one letter of ten. Which of
them is right is a conflict (ouro.annotate.merging.conflicts), settled like any other.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from ouro.annotate.merging.things import quotations
from ouro.core.records import Decision, Region

DOUBLED = "text_stands_once"
LETTERS = 10  # of so many letters one may differ
COVERED = 0.8  # share of OCR's letters that quotations of its parts hold together
_ADDED = re.compile(r"\s+that says (?:\"[^\"]*\"|“[^”]*”|\S+)$")  # ouro.annotate.describe.with_text


class Read(NamedTuple):
    """A description with its text standing once, and what was left out of it."""

    text: str
    decisions: list[Decision]


def with_reading(text: str, region: Region) -> Read:
    """A region's description with what OCR read in it."""
    reading = " ".join(region.text.split())
    if not letters(reading):
        return Read(text, [])
    added = _ADDED.search(text)
    body = text
    if added and same_text(_unquoted(text[added.start() :]), reading):
        body = _ended(text[: added.start()])
    is_quoted = any(same_text(body[start:end], reading) for start, end in quotations(body))
    if not is_quoted and not _holds(body, reading):
        return Read(_quoted_at_end(body, reading), [])
    return Read(body, [Decision("redundancy", region.region_id, reading, DOUBLED)] if body != text else [])


def letters(text: str) -> str:
    """What readings are compared by: letters and digits without case."""
    return "".join(c for c in text.casefold() if c.isalnum())


def same_text(a: str, b: str) -> bool:
    """Whether two readings are of one text."""
    first, second = letters(a), letters(b)
    allowed = max(len(first), len(second)) // LETTERS
    return bool(first) and bool(second) and Levenshtein.distance(first, second, score_cutoff=allowed) <= allowed


def quoted(text: str) -> str:
    """In the quotation marks that it does not hold itself."""
    return f"“{text}”" if '"' in text else f'"{text}"'


def _holds(body: str, reading: str) -> bool:
    """Whether a description has the text without quotation marks, or part by part in several."""
    anyhow = r"[\W_]*".join(re.findall(r"[^\W_]+", reading))
    if re.search(rf"(?<!\w){anyhow}(?!\w)", body, re.IGNORECASE):
        return True
    target = letters(reading)
    parts = [letters(body[start:end]) for start, end in quotations(body)]
    return sum(len(part) for part in parts if part and part in target) >= COVERED * len(target)


def _quoted_at_end(body: str, reading: str) -> str:
    stem = body.rstrip(" .")
    return f"{stem} that says {quoted(reading)}." if stem else f"text that says {quoted(reading)}."


def _ended(text: str) -> str:
    """With the full stop that it lost when text was added."""
    return text if re.search(r"[.!?…][\"”]?$", text) or not text[:1].isupper() else f"{text}."


def _unquoted(added: str) -> str:
    return added.strip().removeprefix("that says ").strip('"“”')
