"""Params for a command: a file or profile with --set overrides, and writing them into params.yaml.

DVC reads params.yaml, nothing else. So what `ouro bootstrap --set` or `--profile` changes is written there,
comments kept, after the difference was shown (as `dvc exp run -S` does); `git diff params.yaml` shows it later.
"""

from __future__ import annotations

import difflib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ouro.core.files import write_text
from ouro.core.params import Model, Params, load_params
from ouro.core.params_text import ParamsError, parse_override, put
from ouro.core.urls import url_problem
from ouro.nano.model import is_nano
from tasks.models import require_adapter, require_model

HF_DATASET = "hf:"
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
        names = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml"))) or "none here"
        raise ParamsError(f"--profile {profile}: no file {path}; known profiles: {names}; run ouro from its checkout")
    return path


class CommandOptions(NamedTuple):
    """What `ouro annotate` was asked on the command line; None: as the params say."""

    source: str
    model: str | None = None
    backend: str | None = None
    url: str | None = None
    limit: int | None = None
    runner: str | None = None
    workers: int | None = None


def apply_options(params: Params, options: CommandOptions) -> Params:
    """The params with what was asked. --model is a folder, or with the backend "openai" the server's name for it.

    A folder or manifest becomes absolute, so that none is taken for the nano world. Nothing here goes through YAML,
    which reads "photos #2" or "2024" in its own way. Raises ParamsError for an address that is none or holds a key.
    """
    if options.url is not None and (problem := url_problem(options.url)):
        raise ParamsError(f"model.url: {problem}")
    backend = options.backend or params.model.backend
    model = {"backend": options.backend, "url": options.url, "base" if backend == "hf" else "name": options.model}
    check_name("SOURCE", options.source)
    source = options.source if options.source.startswith(HF_DATASET) else str(Path(options.source).resolve())
    changes = {
        "model": params.model.model_copy(update=_without_none(model)),
        "ingest": params.ingest.model_copy(update=_without_none({"source": source, "limit": options.limit})),
        "runner": params.runner.model_copy(update=_without_none({"kind": options.runner, "workers": options.workers})),
    }
    return params.model_copy(update=changes)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def annotator_name(model: Model) -> str:
    """The folder of the model that annotates, or its name on the server."""
    return model.base if model.backend == "hf" else model.name


def check_proposers(params: Params) -> None:
    """Raise MissingModel, FasterRCNNError or GroundingError unless the proposers' models are named and, as far as
    they are folders, there."""
    from ouro.vision.faster_rcnn import is_network
    from ouro.vision.grounding import check_texts, is_local

    settings = params.propose
    if "rpn" in settings.proposers and not is_network(params.model.proposer):
        require_model(Path(params.model.proposer))
    if "grounding" in settings.proposers:
        is_local(settings.grounding_model)
        check_texts(settings.grounding_texts)


def check_annotator(params: Params) -> None:
    """Raise MissingModel or ParamsError unless the annotator is there, as far as can be told without loading it."""
    model = params.model
    if model.backend == "hf":
        require_model(Path(model.base))
        if model.adapter:
            require_adapter(Path(model.adapter))
        return
    if not model.name:
        raise ParamsError(
            f"model.name: got nothing; expected the name by which the server at {model.url} knows its model. Fix: "
            "--model NAME, or set model.name"
        )
    from tasks.annotator import check_address

    check_address(model)


def check_name(option: str, path: str | Path) -> None:
    """Raise ParamsError for a name whose bytes are no UTF-8: JSON and Prefect cannot hold it."""
    name = os.fsencode(path).decode("utf-8", "backslashreplace")
    if name != str(path):
        raise ParamsError(f"{option} {name}: got a name that is not UTF-8, expected one that is. Fix: rename it")


def check_out(params: Params, out: Path) -> None:
    """Raise ParamsError when the results would lie among the images, to be annotated themselves the next time."""
    check_name("--out", out)
    source = Path(params.ingest.source)
    if source.is_dir() and out.resolve().is_relative_to(source):
        raise ParamsError(f"--out {out}: lies in {source}, whose images are annotated; expected a folder outside of it")


def check_writer(params: Params) -> None:
    """Raise ParamsError when the nano world's way of asking is set for a model that does not speak it."""
    settings, name = params.synthesize, annotator_name(params.model)
    if (settings.writer == "template" or settings.template == "nano") and not is_nano(Path(name)):
        key = "model.base" if params.model.backend == "hf" else "model.name"
        raise ParamsError(
            f"synthesize.writer {settings.writer}, synthesize.template {settings.template}: they are of the nano "
            f"world, but {key} {name} is no nano model. Fix: --profile paper, or --set "
            "synthesize.writer=vlm --set synthesize.template=instructed"
        )


def agreed(params: Params) -> dict[str, Any]:
    """All that decides what `ouro annotate` makes, in flat keys: code, params and the weights of its models, not how
    fast or where they run. The weights of a server's model are who answers there (tasks.served).
    """
    from tasks import describe, ingest, merge, propose, synthesize

    speed = {"model": {"processes", "prepare_processes", "concurrency", "timeout", "retries"}}
    values = params.model_dump(mode="json", exclude={"runner": True, "train": True, "benchmark": True, **speed})
    agreed = {**_flat(values), "code.ingest": ingest.code(params)}
    for stage, module in {"propose": propose, "describe": describe, "merge": merge, "synthesize": synthesize}.items():
        _, weights, code = module.address(params)
        agreed |= {f"code.{stage}": code, f"weights.{stage}": weights}
    return agreed


def write_params(params: Path | None, profile: str | None, overrides: Sequence[str]) -> tuple[Params, str]:
    """Bring params.yaml to the wanted values; returns them and the difference ("" when nothing changed).

    Everything is checked before anything is written. Raises ParamsError.
    """
    if not FILE.is_file():
        raise ParamsError(f"{FILE.resolve()}: not found; expected Ouro's params file. Fix: run ouro from its checkout")
    source = params_file(params, profile)
    target = load_params(source, (*([] if source == FILE else _state(source)), *overrides))
    before = FILE.read_text()
    document = _yaml().load(before)
    if document is None:
        document = {}
    changes = dict(map(parse_override, overrides)) if source == FILE else _flat(target.model_dump(mode="json"))
    for key, value in changes.items():
        put(document, key, value)
    after = _dump(document) if changes else before
    difference = "".join(_diff(before, after))
    if difference:
        write_text(FILE, after)
    try:
        if load_params(FILE) != target:
            raise ParamsError(f"{FILE}: it sets keys that {source} leaves at their default; set them in {source} too")
    except ParamsError:
        write_text(FILE, before)
        raise
    return target, difference


def _state(source: Path) -> list[str]:
    """What params.yaml says of the rounds, which another file does not change: their number, and who annotates as long
    as the base stays the same."""
    now, there = load_params(FILE), load_params(source)
    overrides = [f"round={now.round}"]
    if now.model.base == there.model.base and not there.model.adapter:
        overrides.append(f"model.adapter={json.dumps(now.model.adapter)}")
    return overrides


def set_params(changes: Mapping[str, Any]) -> None:
    """Write values by "stage.key" into params.yaml, atomically, comments kept."""
    document = _yaml().load(FILE.read_text())
    for key, value in changes.items():
        put(document, key, value)
    write_text(FILE, _dump(document))


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    return yaml


def _dump(document: Any) -> str:
    text = io.StringIO()
    _yaml().dump(document, text)
    return text.getvalue()


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by "stage.key". One that is a mapping (describe.prompts) stays whole: it is replaced, not filled up."""
    flat: dict[str, Any] = {}
    for stage, value in values.items():
        flat |= {f"{stage}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {stage: value}
    return flat


def _diff(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(FILE), str(FILE), n=0)
    return [line for line in lines if not line.startswith(("@@", "---", "+++"))]
