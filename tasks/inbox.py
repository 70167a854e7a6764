"""What ingest.source held when it was last read in: as long as it stays so, no round has to look again."""

from __future__ import annotations

from pathlib import Path

from ouro.core.params import Params
from ouro.ingest.source import source_fingerprint

INBOX = Path(".ouro/inbox")


def inbox_fingerprint(params: Params) -> str | None:
    """The fingerprint of ingest.source; "" for the nano world, which is drawn from the params.

    None for a Hugging Face dataset by its name: that cannot be told without reading everything.
    """
    return "" if params.ingest.source == "nano" else source_fingerprint(params.ingest.source)


def inbox_changed(params: Params) -> bool:
    """Whether there may be something in it that has not been read in."""
    fingerprint = inbox_fingerprint(params)
    return fingerprint is None or (fingerprint != "" and (not INBOX.is_file() or INBOX.read_text() != fingerprint))


def note_inbox(fingerprint: str | None) -> None:
    """Keep what ingest has read in: what it was before ingest began, so that what arrived meanwhile is new."""
    INBOX.parent.mkdir(exist_ok=True)
    INBOX.write_text(fingerprint or "")
