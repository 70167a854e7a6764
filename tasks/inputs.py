"""Checks of the inputs of a round, before anything is started."""

from __future__ import annotations

from pathlib import Path

from ouro.core.params import Params
from ouro.rounds.gate import check_gate
from tasks.benchmark_sources import check_benchmarks
from tasks.ingest import check_source
from tasks.models import MissingModel, require_adapter, require_model
from tasks.settings import check_proposers, check_writer


def check_inputs(params: Params) -> None:
    """Raise for a missing model, adapter, proposer, folder, manifest or benchmark."""
    require_model(Path(params.model.base))
    if params.model.adapter:
        require_adapter(Path(params.model.adapter))
    check_proposer_file(params)
    check_writer(params)
    check_proposers(params)
    check_source(params)
    check_benchmarks(params)
    check_gate(params.gate, params.benchmark.names, held_out=params.ingest.source == "nano")


def check_proposer_file(params: Params) -> None:
    """Raise MissingModel for a torchvision network by its name: DVC watches files, and this is none."""
    if not Path(params.model.proposer).exists():
        raise MissingModel(
            f"model.proposer: got {params.model.proposer!r}, no file or folder here; `ouro bootstrap` expects one, "
            "which DVC can watch. Fix: `ouro fetch` with it under fetch: (as in profiles/paper.yaml) and its folder in "
            "model.proposer; or models/nano/rpn, or propose.proposers without rpn. `ouro annotate` takes torchvision's "
            "networks by name"
        )
