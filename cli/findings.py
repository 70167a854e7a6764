"""What `ouro doctor` finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["ok", "note", "missing"]


class Finding(NamedTuple):
    """The result of one check. "missing" makes the command fail, "note" does not."""

    what: str
    verdict: Verdict
    detail: str
    mend: str = ""
