"""Grids over params: what the arms of an ablation are (OURO's Table 5 varies k, its Table 6 the annotations).

`grid(["train.k=0,5", "train.selection=random,informative"])` are four arms, the last key varying fastest. Arms that
set params of training and asking alone share the round's annotations; others are annotated anew.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ouro.core.errors import OuroError
from ouro.core.params_text import ParamsError

NAMED: dict[str, tuple[str, ...]] = {
    "k": ("train.k=0,1,2,3,5,7",),
    "annotations": ("train.k=3,5", "train.supervision=orig,ours"),
}
SECTIONS = ("train", "benchmark")
ANNOTATING = ("propose", "describe", "merge", "synthesize", "model")
K, SUPERVISION, BENCHMARK_K = "train.k", "train.supervision", "benchmark.k"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_COMMA = re.compile(r""",(?=(?:[^"']|"[^"]*"|'[^']*')*$)(?![^\[{]*[\]}])""")  # in no bracket and no quotes


class GridError(OuroError, ValueError):
    """A grid that cannot be run."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One point of a grid: its name in files and stages, what people call it, and the params that it sets."""

    name: str
    label: str
    values: dict[str, Any]

    @property
    def overrides(self) -> tuple[str, ...]:
        """As `load_params` takes them."""
        return overrides(self.values)

    @property
    def annotates(self) -> bool:
        """Whether it needs annotations of its own."""
        return annotates(self.values)


def overrides(values: Mapping[str, Any]) -> tuple[str, ...]:
    """{"train.k": 0} -> ("train.k=0",), shown regions following the trained ones.

    A model that was trained with k regions beside the image is asked with k, unless benchmark.k is set itself.
    """
    settings = dict(values)
    if K in settings:
        settings.setdefault(BENCHMARK_K, settings[K])
    return tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())


def annotates(values: Mapping[str, Any]) -> bool:
    """Whether params that an arm sets decide what is annotated."""
    return any(key.partition(".")[0] in ANNOTATING for key in values)


def grid(texts: Sequence[str]) -> list[Arm]:
    """The arms of `KEY=VALUE,VALUE` texts; of a key that comes twice the later one holds, in the place of the first.

    Values are YAML, as in params.yaml; a comma within brackets or quotes separates nothing. A key with one value is set
    in every arm. Raises GridError.
    """
    axes = dict(map(_axis, texts))
    varied = varying(axes)
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    if len(points) < 2:
        raise GridError(
            f"--set {' '.join(texts) or '(nothing)'}: got {len(points)} arm, expected two or more, which can be "
            "compared. Fix: give a key several values, such as --set train.k=0,5, or name a grid: " + ", ".join(NAMED)
        )
    arms = [Arm(_name(point, varied), _label(point, varied), point) for point in points]
    if len({arm.name for arm in arms}) < len(arms):
        arms = [Arm(f"{number}-{arm.name}", arm.label, arm.values) for number, arm in enumerate(arms)]
    return arms


def varying(axes: Mapping[str, Sequence[Any]]) -> list[str]:
    """The keys with more than one value."""
    return [key for key, values in axes.items() if len(values) > 1]


def varied_keys(arms: Sequence[Arm]) -> list[str]:
    """The keys in which arms differ, in the order of the grid."""
    return [key for key in arms[0].values if any(arm.values[key] != arms[0].values[key] for arm in arms)]


def reference(arm: Arm, arms: Sequence[Arm]) -> Arm:
    """The arm that another is compared with: the same but for the first value of the key that varies fastest.

    For the grid k that is k = 0; for annotations the same k with the collection's own (Orig. in Table 6).
    """
    key = varied_keys(arms)[-1]
    return next(one for one in arms if {**one.values, key: None} == {**arm.values, key: None})


def check_name(name: str) -> str:
    """Raise GridError unless a name can be a folder's, a stage's and a tag's."""
    if not _NAME.fullmatch(name):
        raise GridError(f"ablation {name!r}: expected letters, digits, - and _, beginning with a letter or digit")
    return name


def default_name(texts: Sequence[str]) -> str:
    """ "train.k=0,5" and "train.rank=4,8" -> "k-rank"."""
    keys = varying(dict(map(_axis, texts))) or ["grid"]
    return "-".join(key.rpartition(".")[2] for key in keys)


def _axis(text: str) -> tuple[str, list[Any]]:
    key, sign, texts = text.partition("=")
    key = key.strip()
    parts = [part.strip() for part in _COMMA.split(texts)]
    if not (sign and key and all(parts)):
        raise GridError(f"--set {text!r}: expected KEY=VALUE,VALUE,... such as train.k=0,5")
    _check_key(text, key)
    try:
        values = [yaml.safe_load(part) for part in parts]
    except yaml.YAMLError as error:
        raise GridError(f"--set {text!r}: a value is not valid YAML: {error}") from error
    if len({json.dumps(value, sort_keys=True, default=str) for value in values}) < len(values):
        raise GridError(f"--set {text!r}: got a value twice, expected different ones. Several trainings: --seeds N")
    return key, values


def _check_key(text: str, key: str) -> None:
    section, _, rest = key.partition(".")
    if key == "seed":
        raise GridError(
            f"--set {text!r}: the seeds of an ablation are --seeds N. Fix: --seeds {max(2, text.count(','))}"
        )
    if section not in (*SECTIONS, *ANNOTATING) or not rest:
        prefixes = ", ".join(f"{name}." for name in (*SECTIONS, *ANNOTATING))
        raise GridError(
            f"--set {text!r}: got a key of {section!r}; all arms have the same images and questions, so only keys "
            f"below {prefixes} can be varied. Fix: for others run `ouro bootstrap --set {key}=...` once for each "
            "value, in clones of their own"
        )


def _name(point: Mapping[str, Any], keys: Iterable[str]) -> str:
    """No dot (DVC would look for a nested param), nothing that needs quoting in a shell."""
    text = "_".join(f"{key.rpartition('.')[2]}-{_text(point[key])}" for key in keys)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:80]


def _label(point: Mapping[str, Any], keys: Iterable[str]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} = {_text(point[key])}" for key in keys)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def check_arms(arms: Sequence[Arm], load: Any) -> None:
    """Load every arm's params. Raises GridError that lists the arms which cannot be, with the reasons."""
    problems: list[str] = []
    for arm in arms:
        try:
            load(arm.overrides)
        except ParamsError as error:
            problems.append(f"arm {arm.label}: {error}")
    if problems:
        raise GridError("\n".join(problems))
