"""A problem of an address, and whether it may be over when it is asked again."""

from __future__ import annotations

from typing import NamedTuple


class AddressProblem(NamedTuple):
    """`text`: the sentence with its "Fix:", "" without a problem. `passing`: nothing answers, which may change."""

    text: str = ""
    passing: bool = False
