"""What a model's folder may not ask for: files elsewhere, pickled weights, code from the hub.

transformers follows the names in these files. `weight_map` of an index may name a pickle or lead out of the folder; an
attention or experts implementation written as org/repo is fetched from the hub and run; a folder with an adapter's
config beside its own is loaded as that adapter's base, which may be any other folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ouro.core.files import is_plain_name

MAX_BYTES = 64 * 2**20  # of one JSON file that is read here; indexes of the largest models have about 10 MB
_KERNELS = ("attn_implementation", "experts_implementation")


def find_unsafe(folder: Path) -> list[str]:
    """The problems of a model's or adapter's folder, each with its file's name; no weights are read."""
    problems = [p for path in sorted(folder.glob("*.index.json")) for p in _find_in_index(path)]
    for path in sorted(folder.glob("*config.json")):
        problems += _find_in_config(path)
    return problems


def _find_in_index(path: Path) -> Iterator[str]:
    index, problem = _read(path)
    files = index.get("weight_map")
    if problem or not isinstance(files, dict):
        yield problem or f"{path.name}: no weight_map; expected one file name a tensor"
        return
    for name in sorted({str(value) for value in cast("dict[str, Any]", files).values()}):
        if not is_plain_name(name) or not name.endswith(".safetensors"):
            yield f"{path.name}: names {name!r} for weights; expected a .safetensors file of the same folder"
        elif not (path.parent / name).is_file():
            yield f"{path.name}: names {name!r}, which is not there; fetch the model again"


def _find_in_config(path: Path) -> Iterator[str]:
    config, problem = _read(path)
    if problem:
        yield problem
    for key, value in _values(config):
        if key.lstrip("_").startswith(_KERNELS) and "/" in value:
            yield f"{path.name}: {key} is {value!r}, code of the hub, which is never run; remove the key"
        elif key == "transformers_weights" and not (is_plain_name(value) and value.endswith((".safetensors", ".json"))):
            yield f"{path.name}: {key} is {value!r}; expected a .safetensors file of the same folder"


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """The object in a JSON file, or {} and what is wrong with it."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}, f"{path.name}: {path.stat().st_size:,} bytes; expected at most {MAX_BYTES:,}"
        value: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{path.name}: cannot be read as JSON ({type(error).__name__}); fetch the model again"
    if not isinstance(value, dict):
        return {}, f"{path.name}: got a {type(value).__name__}, expected an object; fetch the model again"
    return cast("dict[str, Any]", value), ""


def _values(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All texts of a JSON value with the key that they stand under; of an implementation by parts, the outer one."""
    if isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            yield from _values(inner, key if key.lstrip("_").startswith(_KERNELS) else name)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _values(inner, key)
    elif isinstance(value, str):
        yield key, value
