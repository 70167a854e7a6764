"""Paths below `.ouro` are spelt in one module."""

from __future__ import annotations

import ast
from pathlib import Path

from ouro.core.layout import PIPELINE, layout_of
from ouro.core.state import CHECKOUT

ROOT = Path(__file__).resolve().parent.parent


def spelt(file: Path) -> list[str]:
    """String constants of a file, docstrings apart, that name the folder."""
    tree = ast.parse(file.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [str(node.value) for node in strings if ".ouro" in str(node.value) and id(node) not in docstrings]


def test_only_the_state_spells_the_folder() -> None:
    files = [file for room in ("cli", "flows", "tasks", "ouro") for file in (ROOT / room).rglob("*.py")]
    assert {file.relative_to(ROOT).as_posix(): spellings for file in files if (spellings := spelt(file))} == {
        "ouro/core/state.py": [".ouro"]
    }


def test_no_two_things_are_kept_in_one_place() -> None:
    paths = [value for value in vars(CHECKOUT).values() if value != CHECKOUT.folder]
    assert len(paths) == len(set(paths)) > 20
    assert all(path.parent == Path(".ouro") for path in paths)


def test_a_layout_knows_its_state() -> None:
    assert PIPELINE.cache == Path(".ouro/cache") and PIPELINE.state.checkpoints == Path(".ouro/checkpoints")
    assert layout_of(Path("out")).state.annotate_lock == Path("out/.ouro/annotate.lock")
