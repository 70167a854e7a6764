"""dvc.yaml: DVC sees no imports, so all that a stage imports lies below what it lists; and its params must exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ouro.core.code import imported_files
from ouro.core.params import Params

ROOT = Path(__file__).resolve().parent.parent
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ORDER = ["ingest", "propose", "describe", "merge", "synthesize", "train", "benchmark"]


def imports_of(stage: str) -> set[str]:
    files = imported_files([f"flows.{stage}"], ("ouro", "tasks", "flows", "cli"))
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_the_stages_are_the_seven_of_the_method_in_order() -> None:
    assert list(STAGES) == ORDER


def below(file: str, listed: set[str]) -> bool:
    return any(file == dep or file.startswith(f"{dep}/") for dep in listed)


@pytest.mark.parametrize("stage", ORDER)
def test_every_first_party_file_that_a_stage_imports_lies_below_a_path_that_it_lists(stage: str) -> None:
    missing = {file for file in imports_of(stage) if not below(file, set(STAGES[stage]["deps"]))}
    missing = {file for file in missing if (ROOT / file).read_text().strip()}  # __init__.py of the folders above
    assert not missing, f"dvc.yaml {stage}: nothing listed holds {sorted(missing)}"


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_lists_no_code_folder_of_which_it_imports_nothing(stage: str) -> None:
    folders = {dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in ("ouro", "tasks", "flows", "cli")}
    imported = imports_of(stage)
    assert not [folder for folder in folders if not any(below(file, {folder}) for file in imported)]
    assert "cli" not in folders


def test_the_stages_fit_on_two_screens_and_compiled_code_is_no_dependency() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 130
    assert {"__pycache__/", "*.pyc"} <= set((ROOT / ".dvcignore").read_text().splitlines())


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_says_what_it_does_and_runs_the_flow_of_its_name(stage: str) -> None:
    assert STAGES[stage]["desc"]
    assert STAGES[stage]["cmd"] == f"python -m flows.{stage}"


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_depends_on_its_own_params_and_only_on_known_ones(stage: str) -> None:
    keys: list[str] = STAGES[stage]["params"]
    assert stage in keys
    param_keys = Params().model_dump()
    for key in keys:
        value: Any = param_keys
        for name in key.split("."):
            assert name in value, f"{stage}: unknown param {key}"
            value = value[name]


def test_what_a_stage_reads_an_earlier_stage_writes() -> None:
    written: set[str] = set()
    for stage in ORDER:
        data = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("data/", "models/adapter"))}
        data -= {"data/benchmarks", "data/corrections"}  # official files, and corrections: a person puts them there
        assert data <= written, f"{stage} reads {sorted(data - written)}, which no earlier stage writes"
        written |= {out if isinstance(out, str) else next(iter(out)) for out in STAGES[stage]["outs"]}
