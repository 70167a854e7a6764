"""dvc.yaml: DVC does not see imports, so every stage must list what it imports; and its params must exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ouro.core.artifacts import imported_files
from ouro.core.params import Params

ROOT = Path(__file__).resolve().parent.parent
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ORDER = ["ingest", "propose", "describe", "merge", "synthesize", "train", "benchmark"]


def imports_of(stage: str) -> set[str]:
    files = imported_files([f"flows.{stage}"], ("ouro", "tasks", "flows", "cli"))
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_the_stages_are_the_seven_of_the_method_in_order() -> None:
    assert list(STAGES) == ORDER


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_lists_exactly_the_first_party_files_that_it_imports(stage: str) -> None:
    listed = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    wanted = imports_of(stage)
    assert listed == wanted, f"dvc.yaml {stage}: add {sorted(wanted - listed)}, remove {sorted(listed - wanted)}"


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_runs_the_flow_of_its_name(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m flows.{stage}"
    assert f"flows/{stage}.py" in STAGES[stage]["deps"]


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_depends_on_its_own_params_and_only_on_known_ones(stage: str) -> None:
    keys: list[str] = STAGES[stage]["params"]
    assert stage in keys
    known = Params().model_dump()
    for key in keys:
        value: Any = known
        for name in key.split("."):
            assert name in value, f"{stage}: unknown param {key}"
            value = value[name]


def test_what_a_stage_reads_an_earlier_stage_writes() -> None:
    written: set[str] = set()
    for stage in ORDER:
        data = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("data/", "models/adapter"))}
        assert data <= written, f"{stage} reads {sorted(data - written)}, which no earlier stage writes"
        written |= set(STAGES[stage]["outs"])
