"""Are the files of a stage's models still those that the shards beside this one are made with?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from ouro.core.errors import OuroError
from ouro.core.layout import Layout


class ModelChanged(OuroError, ValueError):
    """A model's files were replaced while it was at work: what it makes now is not of one piece with what it made."""


def check_weights(stage: str, layout: Layout, weights: str, now: Callable[[], str]) -> None:
    """Raise ModelChanged unless the stage's models have the fingerprint `weights`, with which this shard was begun, and
    all that work on this folder have agreed on it.

    `now` tells the fingerprint: a look at sizes and times of the files; one that has changed is read.
    """
    current = now()
    agreed = read_state(layout).get("agreed", {}).get(f"weights.{stage}", weights)
    if current == weights == agreed:
        return
    expected = agreed if current == weights else weights
    raise ModelChanged(
        f"{stage}: the files of its models were changed while {layout.root} was being made: got the fingerprint "
        f"{current[:16] or 'of none'}, expected {expected[:16] or 'that of none'} as for its other shards. Fix: "
        "put the former files back; or end all processes that work on this folder and start them again: then all of it "
        "is made with the new files"
    )


def read_state(layout: Layout) -> dict[str, Any]:
    """What all processes that annotate into a folder have agreed on (tasks/sharing.py); {} before the first, and where
    nothing is shared."""
    try:
        state: Any = json.loads(layout.state.annotate.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", state) if isinstance(state, dict) else {}
