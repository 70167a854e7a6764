"""Regular expressions in an adapter's config, tried with a time limit before peft applies them to every module."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SECONDS = 5.0  # for all patterns on all modules' names; ordinary ones take milliseconds
_REPEATS = re.compile(r"[*+{]")
_TRY = "import json, re, sys\npatterns, names = json.load(sys.stdin)\n[re.match(p, n) for p in patterns for n in names]"


def pattern_problem(config: Mapping[str, Any], names: Iterable[str]) -> str:
    """What is wrong with the patterns of an adapter_config.json for a model with modules of these names, or ""."""
    patterns: list[str] = []
    for key, pattern in _patterns(config):
        if len(pattern) > 10_000:
            return f"{key}: a pattern of {len(pattern):,} characters; expected at most 10,000"
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            return f"{key}: no regular expression ({error})"
        if _REPEATS.search(pattern):
            patterns.append(pattern)
    return _try(patterns, list(names)) if patterns else ""


def _patterns(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The patterns as peft matches them (peft 0.21, tuners/tuners_utils.py and utils/other.py)."""
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config.get(key), str):
            yield key, f"(?:{config[key]})\\Z"
    layers: Any = config.get("layers_pattern") or []
    for layer in [layers] if isinstance(layers, str) else layers:
        yield "layers_pattern", rf".*\.{layer}\.(\d+)\."
    for key in ("rank_pattern", "alpha_pattern"):
        for module in config.get(key) or {}:
            yield key, rf"(.*\.)?({module})$"


def _try(patterns: list[str], names: list[str]) -> str:
    """Match in a process of its own: Python's `re` cannot be interrupted."""
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRY], input=json.dumps([patterns, names]), text=True,
            timeout=SECONDS, check=True, capture_output=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"its patterns take more than {SECONDS:g} s on the names of the modules; expected a list of names"
    except subprocess.CalledProcessError as error:
        return f"its patterns cannot be matched ({error.stderr.strip()[-100:]}); expected a list of names"
    return ""
