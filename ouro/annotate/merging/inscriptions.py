"""Text that OCR read in a region: quoted in its description, and believed over the annotator's own reading."""

from __future__ import annotations

import difflib
import re

from ouro.annotate.english.phrases import bare
from ouro.annotate.merging.contradictions import OCR
from ouro.core.records import Decision, Region

# What a description says is written: after "says" as it stands, after other words only in quotation marks.
_SAYS = re.compile(
    r"\s+(?:that |which )?(?:says?|reads?)\s+"
    r"(?P<text>\"[^\"]*\"|“[^”]*”|\S+(?:\s+(?!(?:that|which|at|in|on|and)\b)\S+)*)"
    r"|\s+(?:saying|reading|labeled|labelled|titled|with the words?|with the text)\s+(?P<quoted>\"[^\"]*\"|“[^”]*”)",
    re.IGNORECASE,
)
_MISREAD = 0.5  # similarity from which two readings are of one text


def with_reading(said: str, region: Region) -> tuple[str, list[Decision]]:
    """A region's description with its text as OCR read it; more than one word stands in quotation marks.

    A reading of the annotator's own that resembles it is a misreading of the same text and goes. One word stays
    as `ouro.annotate.describe.with_text` put it: nano's words are learnt without quotation marks.
    """
    text = " ".join(region.text.split())
    if not text:
        return said, []
    said = _quoted(said, text)
    return _corrected(said, text, region.region_id)


def quotation(text: str) -> str:
    """In the quotation marks that it does not hold itself."""
    return f"“{text}”" if '"' in text else f'"{text}"'


def _quoted(said: str, text: str) -> str:
    if len(text.split()) < 2:
        return said
    where = r"\s+".join(map(re.escape, text.split()))
    match = re.search(rf"(?<!\w){where}(?!\w)", said, re.IGNORECASE)
    if match is None:
        return f"{bare(said)} that says {quotation(text)}" if bare(said) else f"text that says {quotation(text)}"
    if said[: match.start()].endswith(('"', "“")) or _inside(said, match.start()):
        return said
    return f"{said[: match.start()]}{quotation(text)}{said[match.end() :]}"


def _inside(said: str, at: int) -> bool:
    """Whether a character stands in a longer quotation."""
    return any(m.start() < at < m.end() for m in re.finditer(r'"[^"]*"|“[^”]*”', said))


def _corrected(said: str, text: str, region_id: str) -> tuple[str, list[Decision]]:
    """Without the misreadings, if the right reading stands somewhere; else with it in the first one's place."""
    found = [(m, (m["text"] or m["quoted"]).strip(' ".,;:“”')) for m in _SAYS.finditer(said)]
    wrong = [(m, t) for m, t in found if t.casefold() != text.casefold() and _similar(t, text)]
    there = any(text.casefold() in t.casefold() for m, t in found if (m, t) not in wrong)
    out, at = "", 0
    for match, _ in wrong:
        group = "text" if match["text"] else "quoted"
        read = text if len(text.split()) < 2 else quotation(text)
        out += said[at : match.start()] if there else said[at : match.start(group)] + read
        there, at = True, match.end()
    return out + said[at:], [Decision("contradiction", region_id, t, OCR) for _, t in wrong]


def _similar(a: str, b: str) -> bool:
    if not a or b.casefold() in a.casefold():
        return False
    # rapidfuzz's ratio is another figure (longest common subsequence): other readings would count as the same
    return difflib.SequenceMatcher(None, a[:200].casefold(), b[:200].casefold(), autojunk=False).ratio() >= _MISREAD
