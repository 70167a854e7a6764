"""The text of a params file and of `--set`: read, bounded, and put into a document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ouro.core.errors import OuroError

_MOST_BYTES = 2**20  # of a params file


class ParamsError(OuroError, ValueError):
    """Everything that is wrong with a params file, one problem a line."""


def read_yaml(path: Path) -> Any:
    """What a params file holds. Raises ParamsError."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ParamsError(f"params file {path}: {path.stat().st_size:,} bytes; expected at most {_MOST_BYTES:,}")
        return yaml.safe_load(path.read_text("utf-8")) or {}
    except UnicodeDecodeError as error:
        raise ParamsError(f"params file {path}: not UTF-8 text ({error}); save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError, ValueError, OSError) as error:
        if isinstance(error, ParamsError):
            raise
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ParamsError(f"params file {path}: not valid YAML: {said}") from error


def parse_override(text: str) -> tuple[str, Any]:
    """ "train.k=3" -> ("train.k", 3). Raises ParamsError."""
    key, sign, value = text.partition("=")
    if not sign:
        raise ParamsError(f"--set {text!r}: expected KEY=VALUE, for instance --set train.k=3")
    try:
        return key.strip(), yaml.safe_load(value)
    except RecursionError as error:
        raise ParamsError(f"--set {key}: the value is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ParamsError(f"--set {text!r}: the value is not valid YAML: {error}") from error


def put(document: dict[str, Any], key: str, value: Any) -> None:
    """Set "stage.key" in a YAML document, in place; what has the value already keeps its comments. Raises ParamsError
    where a part of the key holds a value."""
    *parents, last = key.split(".")
    node: Any = document
    for name in parents:
        if node.get(name) is None:
            node[name] = {}
        node = node[name]
        if not isinstance(node, dict):
            raise ParamsError(f"--set {key}: {name!r} holds the value {node!r}, so it has no keys below it")
    if last not in node or node[last] != value:
        node[last] = value
