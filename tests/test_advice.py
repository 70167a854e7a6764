"""No sentence advises `dvc repro` but the one function that knows whether it applies."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _advices(file: Path) -> list[str]:
    """The texts of a module that name DVC's commands, without its docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    documented = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [str(n.value) for n in texts if id(n) not in documented and "`dvc" in str(n.value)]


def test_dvc_is_advised_where_it_applies_only() -> None:
    """ouro/ serves `ouro annotate` folders, too: there DVC knows nothing."""
    found = {
        file.relative_to(ROOT).as_posix(): advices
        for file in sorted((ROOT / "ouro").rglob("*.py"))
        if (advices := _advices(file))
    }
    assert list(found) == ["ouro/core/files.py"], found
