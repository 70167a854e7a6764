"""ablations/NAME/{dvc.yaml, arms.yaml}: an ablation as a DVC matrix, one stage an arm and seed.

The same grid, code and params.yaml give the same bytes. A stage depends on its own entry of arms.yaml alone, and on the
params of params.yaml that it reads and no arm sets, so that a changed arm runs again and the others do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from flows.arm import ARMS
from ouro.ablations.grid import ANNOTATING, BENCHMARK_K, SECTIONS, Arm, K
from ouro.core.artifacts import write_text
from ouro.core.code import imported_files
from ouro.core.params import Params
from tasks.ablation import SCORES, place

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("ablations")
PACKAGES = ("ouro", "tasks", "flows", "cli")
DATA = ("data/images", "data/annotations", "data/regions", "data/scenes", "data/qa")
ALWAYS = ("seed", "model.base", "model.adapter", "describe.prompt", "ingest.max_pixels")
WITH_REGIONS = ("propose", "model.proposer")  # benchmark.names have no regions yet
HEAD = "# Written by `ouro ablate`; the arms' own params are in arms.yaml.\n"


class Job(NamedTuple):
    """One stage of the matrix: an arm and a seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """As DVC and MLflow tell it from the other ones."""
        return f"{self.arm.name}-{self.seed}"


def jobs(arms: Sequence[Arm], seeds: int) -> list[Job]:
    """In the order in which they run: whole seeds, so that an ablation that is stopped has some of every arm."""
    return [Job(arm, seed) for seed in range(seeds) for arm in arms]


def target(name: str, job: Job) -> str:
    """As DVC names the stage."""
    return f"{(FOLDER / name / 'dvc.yaml').as_posix()}:arm@{job.name}"


def write_matrix(name: str, arms: Sequence[Arm], seeds: int, params: Sequence[Params], raw: Mapping[str, Any]) -> Path:
    """Write both files where they differ; returns dvc.yaml. `params`: of each arm; `raw`: what params.yaml holds, as
    DVC knows no defaults."""
    folder = FOLDER / name
    _write(folder / ARMS, HEAD + _yaml({arm.name: arm.values for arm in arms}))
    _write(folder / "dvc.yaml", HEAD + _yaml({"stages": {"arm": _stage(name, arms, seeds, params, raw)}}))
    return folder / "dvc.yaml"


def _stage(
    name: str, arms: Sequence[Arm], seeds: int, params: Sequence[Params], raw: Mapping[str, Any]
) -> dict[str, Any]:
    arms_file = (FOLDER / name / ARMS).as_posix()
    return {
        "desc": "one arm with one seed: train, ask, score",
        "matrix": {"arm": [arm.name for arm in arms], "seed": list(range(seeds))},
        "wdir": "../..",
        "cmd": f"python -m flows.arm {name} ${{item.arm}} ${{item.seed}}",
        "deps": [*_files(arms, params), *code()],
        "params": [*_read_params(arms, params, raw), {arms_file: ["${item.arm}"]}],
        "outs": [f"{FOLDER.as_posix()}/{name}/${{item.arm}}/seed-${{item.seed}}"],
    }


def code() -> list[str]:
    """The folders of all first-party code that an arm runs, as DVC sees no imports: those that dvc.yaml lists, too."""
    files = [path.relative_to(ROOT) for path in imported_files(["flows.arm"], PACKAGES)]
    rooms = {"/".join(f.parts[:2]) for f in files if f.parts[0] == "ouro" and len(f.parts) > 2}
    return sorted(rooms | {f.parts[0] for f in files if f.parts[0] != "ouro"})


def _files(arms: Sequence[Arm], params: Sequence[Params]) -> list[str]:
    """Of all arms, as the stages of a matrix have the same."""
    files = [*DATA]
    for arm, arm_params in zip(arms, params, strict=True):
        files.append(arm_params.model.base)
        if arm_params.benchmark.names:
            files.append(arm_params.benchmark.folder)
        if arm_params.benchmark.names or arm.annotates:
            files.append(arm_params.model.proposer)
        if arm.annotates and arm_params.model.adapter:
            files.append(arm_params.model.adapter)
        if arm_params.train.deepspeed and Path(arm_params.train.deepspeed).is_file():
            files.append(arm_params.train.deepspeed)
    return list(dict.fromkeys(files))


def _read_params(arms: Sequence[Arm], params: Sequence[Params], raw: Mapping[str, Any]) -> list[str]:
    """Keys of params.yaml that decide an arm's result, without those that the arms set themselves."""
    arm_keys = set(arms[0].values)
    if K in arm_keys:
        arm_keys.add(BENCHMARK_K)
    sections = (*SECTIONS, *ANNOTATING, "ingest") if any(arm.annotates for arm in arms) else SECTIONS
    read = [f"{section}.{key}" for section in sections for key in raw.get(section) or {}]
    fixed = [*ALWAYS, *(WITH_REGIONS if any(arm_params.benchmark.names for arm_params in params) else ())]
    return [key for key in dict.fromkeys((*fixed, *read)) if key not in arm_keys and _present(raw, key)]


def _present(raw: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(raw, Mapping) or part not in raw:
            return False
        raw = raw[part]
    return True


def _yaml(value: Any) -> str:
    return yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, width=4096, allow_unicode=True)


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def scores_of(name: str, job: Job) -> Path:
    """Where a stage leaves its scores."""
    return place(name, job.arm.name, job.seed).out / SCORES
