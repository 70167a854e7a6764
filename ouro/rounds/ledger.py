"""What is kept of every round: one JSON file each, rounds/round-001.json and on, small enough for git.

A round that has its file is finished. What the file says of data and adapter is checked before it is promoted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ouro.core.errors import OuroError
from ouro.core.files import write_text
from ouro.core.json_text import parse_json
from ouro.core.params import Params
from ouro.rounds.gate import GateError, Measured, Verdict

FOLDER = Path("rounds")


class LedgerError(OuroError, ValueError):
    """A round that is not there, or whose file is damaged."""


def annotator_of(params: Params) -> str:
    """models/nano, or models/nano + models/champions/round-001."""
    return " + ".join(name for name in (params.model.base, params.model.adapter) if name)


@dataclass(frozen=True, slots=True)
class Round:
    """One finished round.

    `annotator` described the regions ("models/nano", or "models/nano + models/champions/round-001"); `against` is the
    model that the gate compared with; `candidate` the SHA-256 of the adapter; `counts` how many images, regions and
    pairs; `words` the mean length of a merged description; `data` the DVC hash of every output; `run` the MLflow run;
    `seconds` by stage.
    """

    number: int
    annotator: str
    against: str
    trained_from: str
    candidate: str
    counts: dict[str, int]
    words: float
    measured: tuple[Measured, ...]
    verdict: Verdict
    gained: bool
    data: dict[str, str] = field(default_factory=dict[str, str])
    run: str = ""
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def tag(self) -> str:
        return tag(self.number)

    def scores(self) -> list[Measured]:
        """The candidate against the base, where both were measured; else against whom it was measured."""
        return [m for m in self.measured if m.models[0] == "base"] or list(self.measured)

    def to_json(self) -> dict[str, Any]:
        measured = [m.to_json() for m in self.measured]
        return {**asdict(self), "measured": measured, "verdict": self.verdict.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Round:
        fields = dict(value)
        fields["measured"] = tuple(Measured.from_json(m) for m in value["measured"])
        fields["verdict"] = Verdict.from_json(value["verdict"])
        return cls(**fields)


def tag(number: int) -> str:
    """round-001: the git tag of a round, and the name of its files."""
    return f"round-{number:03d}"


def write_round(record: Round, folder: Path = FOLDER) -> Path:
    """Write a round's file, atomically."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{record.tag}.json"
    write_text(path, json.dumps(record.to_json(), indent=1, sort_keys=True) + "\n")
    return path


def read_round(number: int, folder: Path = FOLDER) -> Round:
    """Raises LedgerError."""
    path = folder / f"{tag(number)}.json"
    if not path.is_file():
        numbers = ", ".join(map(str, _numbers(folder))) or "none"
        raise LedgerError(f"round {number}: no file {path}; finished rounds here: {numbers}")
    try:
        return Round.from_json(parse_json(path.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, GateError):
            raise LedgerError(f"{path}: {error}") from error
        raise LedgerError(
            f"{path}: {type(error).__name__}: {error}; expected what `ouro bootstrap` wrote. Fix: git checkout {path}"
        ) from error


def read_rounds(folder: Path = FOLDER) -> list[Round]:
    """All finished rounds, the first one first. Raises LedgerError."""
    return [read_round(number, folder) for number in _numbers(folder)]


def _numbers(folder: Path) -> list[int]:
    stems = [path.stem.removeprefix("round-") for path in folder.glob("round-*.json")]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def count_rounds_without_gain(rounds: Sequence[Round]) -> int:
    """How many of the last rounds in a row gained nothing beyond the interval (VILA^2's saturation)."""
    count = 0
    for record in reversed(rounds):
        if record.gained and record.verdict.promoted:
            break
        count += 1
    return count
