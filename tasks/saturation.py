"""Saturation: whether another round could improve the model."""

from __future__ import annotations

from ouro.core.params import Params
from ouro.rounds.ledger import count_rounds_without_gain, read_rounds
from tasks.inbox import inbox_changed, inbox_fingerprint
from tasks.versioning import is_up_to_date


def is_finished(number: int) -> bool:
    """Whether a round has its file."""
    return any(record.number == number for record in read_rounds())


def nothing_to_do(params: Params) -> str | None:
    """Why no round need begin: the last bootstrap.patience of them gained nothing, and nothing has changed since.

    None where a round has been begun, passed its gate or may still gain. Raises VersioningError, LedgerError.
    """
    if not is_finished(params.round):
        return None
    n_without_gain, patience = count_rounds_without_gain(read_rounds()), params.bootstrap.patience
    if n_without_gain < patience:
        return None
    has_fingerprint = inbox_fingerprint(params) is not None  # a Hugging Face dataset has none
    if (has_fingerprint and inbox_changed(params)) or not is_up_to_date():
        return None
    return (
        f"saturated after round {params.round}: {n_without_gain} round{'s' if n_without_gain > 1 else ''} in a row "
        f"without a gain beyond the interval (bootstrap.patience: {patience}), and no image, param or code has "
        "changed since"
    )
