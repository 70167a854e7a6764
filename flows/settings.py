"""Params for a command: a file or profile with --set overrides, and writing them into params.yaml.

DVC reads params.yaml, nothing else. So what `ouro bootstrap --set` or `--profile` changes is written there,
comments kept, after the difference was shown (as `dvc exp run -S` does); `git diff params.yaml` shows it later.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ouro.files import write_text
from ouro.nano.model import is_nano
from ouro.params import Params, ParamsError, load_params

FILE = Path("params.yaml")
PROFILES = Path("profiles")


def params_file(params: Path | None, profile: str | None) -> Path:
    """The file that --params or --profile names. Raises ParamsError when both do, or there is no such profile."""
    if params and profile:
        raise ParamsError(f"got both --params {params} and --profile {profile}; expected one of them")
    if profile is None:
        return params or FILE
    path = PROFILES / f"{profile}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml"))) or "none here"
        raise ParamsError(f"--profile {profile}: no file {path}; known profiles: {known}; run ouro from its checkout")
    return path


def check_writer(params: Params) -> None:
    """Raise ParamsError when the nano world's way of asking is set for a model that does not speak it."""
    chosen = params.synthesize
    if (chosen.writer == "template" or chosen.template == "nano") and not is_nano(Path(params.model.base)):
        raise ParamsError(
            f"synthesize.writer {chosen.writer}, synthesize.template {chosen.template}: they are of the nano world, "
            f"but model.base {params.model.base} is no nano model. Fix: --profile paper, or --set "
            "synthesize.writer=vlm --set synthesize.template=instructed"
        )


def write_params(params: Path | None, profile: str | None, overrides: Sequence[str]) -> tuple[Params, str]:
    """Bring params.yaml to the wanted values; returns them and the difference ("" when nothing changed).

    Everything is checked before anything is written. Raises ParamsError.
    """
    source = params_file(params, profile)
    wanted = load_params(source, tuple(overrides))
    if not FILE.is_file():
        raise ParamsError(f"{FILE.resolve()}: not found; expected Ouro's params file. Fix: run ouro from its checkout")
    before = FILE.read_text()
    document = _yaml().load(before)
    if document is None:
        document = {}
    changes = dict(map(_parse, overrides)) if source == FILE else _flat(wanted.model_dump(mode="json"))
    for key, value in changes.items():
        _put(document, key.split("."), value)
    after = _dump(document) if changes else before
    difference = "".join(_diff(before, after))
    if difference:
        write_text(FILE, after)
    try:
        if load_params(FILE) != wanted:
            raise ParamsError(f"{FILE}: it sets keys that {source} leaves at their default; set them in {source} too")
    except ParamsError:
        write_text(FILE, before)
        raise
    return wanted, difference


def _yaml() -> Any:
    from ruamel.yaml import YAML

    made = YAML()
    made.width = 4096
    made.preserve_quotes = True
    return made


def _dump(document: Any) -> str:
    text = io.StringIO()
    _yaml().dump(document, text)
    return text.getvalue()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat


def _parse(override: str) -> tuple[str, Any]:
    key, _, value = override.partition("=")
    return key.strip(), yaml.safe_load(value)


def _put(document: Any, path: list[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        if document.get(name) is None:
            document[name] = {}
        document = document[name]
    if document.get(last) != value:
        document[last] = value


def _diff(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(FILE), str(FILE), n=0)
    return [line for line in lines if not line.startswith(("@@", "---", "+++"))]
