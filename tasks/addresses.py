"""What decides the bytes of a stage's results, and so names them in the cache: code, params, weights.

An address holds no more than that. Its code is the closure of imports of the modules of `ouro` that make the result,
never a module of `tasks`: how a shard is found, locked, shown, tracked and retried changes no byte of it. A task hands
records, a section of params and loaders to one function of `ouro` and writes what comes back. Its `address` says which
function that is, and why nothing else decides. Its params are its own section as values (`ouro.core.code.VALUES` says
why that is enough).

Whoever lets a task decide something must move that into `ouro`, or results will be stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ouro.core.code import code_fingerprint

SHARDS = "ouro.core.artifacts"
"""How records become Parquet, and their counts a sidecar (with ouro.core.records, which all import)."""


class Address(NamedTuple):
    """All that decides a stage's results beside their inputs. `model`: fingerprint of what it loads, "" for nothing."""

    params: Mapping[str, Any]
    model: str
    code: str


@lru_cache(maxsize=64)
def code_of(*modules: str) -> str:
    """The fingerprint of modules of `ouro` with all that they import; of the sources at the first call."""
    return code_fingerprint(modules)
