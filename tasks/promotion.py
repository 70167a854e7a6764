"""A candidate becomes the champion: its adapter gets a folder of its own, versioned, and annotates from then on.

Promotion comes first in a round, before anything is annotated, so that at every round's tag nothing is out of date.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ouro.core.errors import OuroError
from ouro.core.files import sync
from ouro.core.layout import ADAPTER
from ouro.core.params import Params, load_params
from ouro.rounds.ledger import Round, read_round
from tasks import screen
from tasks.models import MissingModel, model_fingerprint
from tasks.saturation import is_finished
from tasks.settings import set_params
from tasks.versioning import add_to_dvc

CHAMPIONS = Path("models/champions")


class PromotionError(OuroError, ValueError):
    """models/adapter is not the adapter that the verdict is about."""


def candidate_digest() -> str:
    """The fingerprint of the adapter that stage train left. Raises MissingModel."""
    return model_fingerprint(ADAPTER)


def is_candidate(record: Round) -> bool:
    """Whether models/adapter is the adapter of that round."""
    return _digest(ADAPTER) == record.candidate


def promote(record: Round) -> Path:
    """Copy the candidate of a round whose gate passed to models/champions/round-NNN, and let DVC version it.

    After a kill it starts again; a round that was run again has another adapter, which replaces the first. Raises
    PromotionError unless models/adapter is the adapter of that round, and VersioningError.
    """
    champion = CHAMPIONS / record.tag
    if not (champion.with_name(f"{record.tag}.dvc").is_file() and _digest(champion) == record.candidate):
        _check_candidate(record)
        _copy_candidate(champion)
        add_to_dvc(champion)
    return champion


def _digest(adapter: Path) -> str:
    try:
        return model_fingerprint(adapter)
    except MissingModel:
        return "none"


def _check_candidate(record: Round) -> None:
    digest = _digest(ADAPTER)
    if digest != record.candidate:
        raise PromotionError(
            f"{ADAPTER}: got adapter {digest[:12]}, expected {record.candidate[:12]}, which passed the gate of round "
            f"{record.number}; nothing was promoted. Fix: bring it back (git checkout {record.tag} -- dvc.lock "
            "params.yaml; uv run dvc checkout), or delete the round's file in rounds/ to run the round again"
        )


def _copy_candidate(champion: Path) -> None:
    part = champion.with_name(champion.name + ".part")
    for folder in (part, champion):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ADAPTER, part)
    sync(*part.iterdir(), part)
    os.replace(part, champion)
    sync(champion.parent)


def begin_round(promoting: bool = True) -> Params:
    """Go on with the round that has not ended, or begin the next one: promote the candidate whose gate has passed.

    Not without `promoting`, where a person has just set model.adapter, and not an adapter of another base than the
    one that is set now. params.yaml is written once, at the end. Raises PromotionError and VersioningError.
    """
    params = load_params()
    if not is_finished(params.round):
        return params
    last = read_round(params.round)
    changes: dict[str, object] = {"round": params.round + 1}
    base = last.annotator.partition(" + ")[0]
    if last.verdict.promoted and not promoting:
        screen.say(f"round {last.number}'s candidate is not promoted: model.adapter was set to another annotator")
    elif last.verdict.promoted and base != params.model.base:
        screen.say(f"round {last.number}'s candidate is not promoted: it is of {base}, model.base is another now")
    elif last.verdict.promoted:
        changes["model.adapter"] = str(promote(last))
        screen.say(f"round {last.number}'s candidate is the champion now: {changes['model.adapter']}")
    set_params(changes)
    return load_params()
