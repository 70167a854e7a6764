"""The fingerprint of ingest.source at the last ingest: while it is the same, no round has to ingest again."""

from __future__ import annotations

from ouro.core.params import Params
from ouro.core.state import CHECKOUT
from ouro.ingest.source import source_fingerprint

INBOX = CHECKOUT.inbox


def inbox_fingerprint(params: Params) -> str | None:
    """The fingerprint of ingest.source; "" for the nano world, which is drawn from the params.

    None for a Hugging Face dataset by its name: it has no fingerprint without reading everything.
    """
    return "" if params.ingest.source == "nano" else source_fingerprint(params.ingest.source)


def inbox_changed(params: Params) -> bool:
    """Whether ingest.source may hold images that were not ingested."""
    fingerprint = inbox_fingerprint(params)
    return fingerprint is None or (fingerprint != "" and (not INBOX.is_file() or INBOX.read_text() != fingerprint))


def note_inbox(fingerprint: str | None) -> None:
    """Store the fingerprint from before ingest began, so that images that arrived meanwhile count as new."""
    INBOX.parent.mkdir(exist_ok=True)
    INBOX.write_text(fingerprint or "")
