"""pyproject.toml declares what is imported, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT

PRODUCT, TRIALS = ("ouro", "tasks", "flows", "cli"), ("tests", "perf")
NOT_IMPORTED = {
    "accelerate": "transformers' Trainer",
    "bitsandbytes": "transformers loads weights in 4 bits with it",
    "fastapi": "Prefect's server, pinned",
    "onnxruntime": "PaddleOCR's engine",
    "rapidocr": "its wheel carries models",
    "scikit-learn": "its wheel carries photographs",
    "sqlalchemy": "Prefect's server, pinned",
    **dict.fromkeys(("import-linter", "pyright", "pytest-timeout", "pytest-xdist", "ruff", "setuptools"), "a tool"),
}
COME_ALONG = {
    "anyio": "openai's client sleeps with it",
    "ray": "prefect-ray",
}
"""What tests alone import of a declared distribution's own requirements."""


def _name(requirement: str) -> str:
    """ruamel.yaml>=0.18 -> ruamel-yaml (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]).lower()


def _declared(*groups: str) -> set[str]:
    """Names of the dependencies, and of the optional ones and the dev group that are asked for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = {**project["project"]["optional-dependencies"], **project["dependency-groups"]}
    lists = [project["project"]["dependencies"], *(optional[group] for group in groups)]
    return {_name(requirement) for one in lists for requirement in one} - {"ouro"}


def _imported(folders: Iterable[str]) -> dict[str, str]:
    """Each top-level module of somebody else's that is imported below folders -> one file that does."""
    local_names = {*PRODUCT, *TRIALS, *(p.stem for p in (ROOT / "tests").rglob("*.py")), *sys.stdlib_module_names}
    names_by_file: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for module in modules:
                names_by_file.setdefault(module.partition(".")[0], str(path.relative_to(ROOT)))
    return {module: path for module, path in names_by_file.items() if module not in local_names}


_installed = cache(packages_distributions)  # reads the files of every installed distribution


def _distributions(module: str) -> set[str]:
    return {_name(distribution) for distribution in _installed().get(module, [])}


@pytest.mark.parametrize(
    ("folders", "groups", "besides"),
    [(PRODUCT, ("captions", "ray"), set[str]()), (TRIALS, ("dev", "captions", "ray"), {*COME_ALONG})],
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], groups: tuple[str, ...], besides: set[str]) -> None:
    declared = _declared(*groups) | besides
    imported = _imported(folders)
    assert {m: path for m, path in imported.items() if not _distributions(m) & declared} == {}
    assert {"torch", "numpy"} <= imported.keys()  # the walk has seen something


def test_what_is_declared_is_imported() -> None:
    product = {d for module in _imported(PRODUCT) for d in _distributions(module)}
    trials = {d for module in _imported(TRIALS) for d in _distributions(module)}
    groups = ("captions", "qlora", "ray")
    assert _declared(*groups) - product - NOT_IMPORTED.keys() == set(), "what only tests import belongs in dev"
    assert _declared("dev") - _declared() - trials - product - NOT_IMPORTED.keys() == set()


def test_names_are_compared_as_registries_do() -> None:
    assert [_name(r) for r in ("ruamel.yaml>=0.18", "Prefect_Ray", "torch")] == ["ruamel-yaml", "prefect-ray", "torch"]
    assert _distributions("PIL") == {"pillow"} and "ruamel-yaml" in _distributions("ruamel")
    assert Path(_imported(("ouro",))["torch"]).parts[0] == "ouro"
