"""What tests share lies in tests/helpers: no test module imports another one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
QUOTED = re.compile(r"\b(?:import|from)\s[\w\s.,]*\b(test_\w+)")  # in a program for `python -c`


def imported(source: str) -> set[str]:
    """The names that Python code imports anywhere in it, part by part, and the tests that its texts import."""
    names = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {*(node.module or "").split("."), *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= set(QUOTED.findall(node.value))
    return names


@pytest.mark.parametrize("path", sorted(TESTS.glob("test_*.py")), ids=lambda path: path.name)
def test_no_test_imports_another_test(path: Path) -> None:
    others = {other.stem for other in TESTS.glob("test_*.py")}
    assert not imported(path.read_text()) & others, "what tests share lies in tests/helpers"


@pytest.mark.parametrize(
    "source",
    [
        "from OTHER import CASES",
        "import OTHER as other",
        "import json, OTHER",
        "from tests import OTHER",
        "import tests.OTHER",
        "def f():\n    from OTHER import CASES",
        "CODE = f'import sys; sys.path = {1}; import pathlib, OTHER as t'",
    ],
)
def test_each_way_to_import_a_test_is_seen(source: str) -> None:
    assert "test_scores" in imported(source.replace("OTHER", "test_scores"))
    assert "test_scores" not in imported(source.replace("OTHER", "benchmark_cases"))


def test_helpers_hold_no_tests() -> None:
    """pytest would not collect them there."""
    for path in (TESTS / "helpers").rglob("*.py"):
        functions = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        assert not [name for name in (path.name, *functions) if name.startswith("test_")], path
