"""docs/design.md draws the tree and the layers that are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/design.md").read_text()
TREE, LAYERS = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


def drawn(tree: str) -> list[Path]:
    """The paths of a drawing, two spaces of indentation a level."""
    above: list[str] = []
    paths: list[Path] = []
    for indent, name in re.findall(r"^( *)(\S+)", tree, re.MULTILINE):
        above = [*above[: len(indent) // 2], name]
        paths.append(ROOT.joinpath(*above))
    return paths


def test_a_drawing_is_read_by_its_indentation() -> None:
    assert drawn("a/  first\n  b/   second\n    c/\n  d/\ne.py\n") == [
        ROOT / path for path in ("a", "a/b", "a/b/c", "a/d", "e.py")
    ]


def test_everything_in_the_drawing_is_there_and_no_room_of_the_method_is_left_out() -> None:
    paths = drawn(TREE)
    assert [path for path in paths if not path.exists()] == []
    rooms = {path.parent for path in (ROOT / "ouro").glob("*/__init__.py")}
    assert {path for path in paths if path.parent == ROOT / "ouro"} == rooms


def test_the_layers_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (inside,) = (c for c in contracts if c["type"] == "layers" and c.get("containers") == ["ouro"])
    page = [set(line.split(", ")) for line in LAYERS.splitlines()]
    assert page == [set(layer.split(" | ")) for layer in reversed(inside["layers"])]
