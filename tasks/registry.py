"""MLflow's registry: a version of the model for each round's adapter, and the alias of the champion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks import tracking

REGISTERED = "ouro"  # the model of the registry whose versions are the rounds' adapters


def register(run: tracking.Run, adapter: Path, tags: Mapping[str, str]) -> None:
    """Store an adapter with its run and make it a version of the registered model, alias `candidate`.

    Tag `round` names the version; a round that is run again gets a new one. Never raises for a store that does not
    answer.
    """
    run.artifact(adapter, "adapter")

    def write(store: Any) -> None:
        _ensure_registered_model(store)
        source = f"{store.get_run(run.run_id).info.artifact_uri}/adapter"
        version = store.create_model_version(REGISTERED, source, run.run_id, tags=dict(tags))
        store.set_registered_model_alias(REGISTERED, "candidate", version.version)

    run.registry(write)


def set_champion_alias(run: tracking.Run, number: str) -> None:
    """Set the alias `champion` to the newest version of a round. Never raises for a store that does not answer."""

    def write(store: Any) -> None:
        versions = [v for v in store.search_model_versions(f"name='{REGISTERED}'") if v.tags.get("round") == number]
        if versions:
            store.set_registered_model_alias(
                REGISTERED, "champion", max(versions, key=lambda v: int(v.version)).version
            )

    run.registry(write)


def _ensure_registered_model(store: Any) -> None:
    try:
        store.get_registered_model(REGISTERED)
    except Exception:  # there is none yet, or the store says so when it is made
        store.create_registered_model(REGISTERED, description="LoRA adapters, one version a round")
