"""The addresses of all stages on a copy of the sources: what changes no byte leaves them, what may changes them."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ouro.core import code
from ouro.core.code import code_fingerprint, imported_files
from ouro.core.params import Params
from ouro.training.checkpoints import CODE
from tasks import describe, ingest, merge, propose, synthesize, train
from tasks.addresses import code_of
from tasks.asking import reply_code

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of ouro and tasks that addresses are taken from."""
    for folder in ("ouro", "tasks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "SOURCE_ROOT", tmp_path)
    yield tmp_path
    code_of.cache_clear()


def addresses(**sections: object) -> dict[str, str]:
    """The code of every stage, of a benchmark's replies and of checkpoints."""
    code_of.cache_clear()
    model = {"base": str(ROOT / "models/nano"), "proposer": str(ROOT / "models/nano/rpn")}
    params = Params.model_validate({"model": model, **sections})
    stages = {"propose": propose, "describe": describe, "merge": merge, "synthesize": synthesize, "train": train}
    codes = {stage: module.address(params).code for stage, module in stages.items()}
    return codes | {
        "ingest": ingest.code(params), "benchmark": reply_code(params.model), "checkpoint": code_fingerprint([CODE]),
    }  # fmt: skip


def edit(tree: Path, file: str, old: str, new: str) -> None:
    text = (tree / file).read_text()
    assert old in text, f"{file} no longer has {old!r}"
    (tree / file).write_text(text.replace(old, new, 1))


def changed(tree: Path, file: str, old: str, new: str) -> set[str]:
    """The stages whose address an edit changes."""
    before = addresses()
    edit(tree, file, old, new)
    after = addresses()
    return {stage for stage in before if before[stage] != after[stage]}


def sources(tree: Path) -> list[Path]:
    return sorted((tree / "ouro").rglob("*.py"))


def test_comments_everywhere_leave_every_address(tree: Path) -> None:
    before = addresses()
    for path in sources(tree):
        path.write_text("# a new comment\n" + path.read_text() + "\n# another\n")
    assert addresses() == before


def test_docstrings_everywhere_leave_every_address(tree: Path) -> None:
    before = addresses()
    for path in sources(tree):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (
                docstring := ast.get_docstring(node, False)
            ):
                text = text.replace(f'"""{docstring}"""', '"""Reworded."""')
        path.write_text(text)
    assert addresses() == before


def test_a_docstring_that_goes_leaves_every_address(tree: Path) -> None:
    text = '    """Words and marks: the length of a text where no tokenizer is at hand."""\n'
    assert changed(tree, "ouro/core/tokens.py", text, "") == set()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("ouro/annotate/describe.py", "seed: int = 0,", "seed: int | None = 0,"),
        ("ouro/annotate/recurse.py", ") -> Grown:", ') -> "Grown | None":'),
        ("ouro/annotate/merge.py", "rejected: list[Rejected] = []", "rejected = []"),
    ],
)  # fmt: skip
def test_a_type_annotation_leaves_every_address(tree: Path, file: str, old: str, new: str) -> None:
    assert changed(tree, file, old, new) == set()


def test_imports_for_type_checkers_are_neither_hashed_nor_followed(tree: Path) -> None:
    name = "from typing import TYPE_CHECKING, Any, NamedTuple\n"
    guarded = name + "\nif TYPE_CHECKING:\n    import ouro.pages.report\n"
    assert changed(tree, "ouro/annotate/recurse.py", name, guarded) == set()
    assert tree / "ouro/pages/report.py" not in imported_files(["ouro.annotate.recurse"])
    assert changed(tree, "ouro/annotate/recurse.py", "if TYPE_CHECKING:", "if True:") == {"propose"}
    assert tree / "ouro/pages/report.py" in imported_files(["ouro.annotate.recurse"])


def test_a_new_knob_of_any_stage_leaves_every_address(tree: Path) -> None:
    """The knob's own stage has it among its params, by value."""
    before = addresses()
    for section in ("Ingest", "Train", "Gate", "Merge", "Describe", "Propose", "Synthesize", "Benchmark", "Model"):
        head = f"class {section}(_Stage):\n"
        edit(tree, "ouro/core/params.py", head, f"{head}    knob: int = 1\n")
    edit(tree, "ouro/core/params.py", "round: Positive", "bound: Positive = 7\n    round: Positive")
    assert addresses() == before


@pytest.mark.parametrize("file", ["tracking", "models", "shards", "sharing", "weights", "screen", "train", "describe"])
def test_a_change_of_tasks_leaves_every_address(tree: Path, file: str) -> None:
    before = addresses()
    path = tree / f"tasks/{file}.py"
    path.write_text(path.read_text() + "\nNEW = 1\n")
    assert addresses() == before


ANNOTATED = {"propose", "describe", "merge", "synthesize"}


SHARDS = {"ingest", "train", "checkpoint", *ANNOTATED}  # replies of a benchmark are no records
CUT = {"describe", "train", "benchmark", "checkpoint"}
FIELD, TABLE = '    kind: str = "object"', 'SHA256: Final = "'  # the table's is that of kinds.json
READING = "recognize and describe the text"
DECISIVE = [  # what, where, old, new, which stages
    ("constant", "annotate/recurse", "GAIN = 1.25", "GAIN = 1.26", {"propose"}),
    ("formula", "core/crops", "* context, (", "* context / 2, (", CUT | {"merge"}),
    ("prompt", "annotate/prompts", READING, "read the text", {"ingest", "describe", "merge", "synthesize"}),
    ("regular-expression", "core/tokens", r"\w+|[^\w\s]", r"\w+|[^\s]", {"merge"}),
    ("field", "core/records", FIELD, f"{FIELD}\n    hue: int = 0", SHARDS),
    ("type-of-a-field", "core/records", "    level: int\n", "    level: float\n", SHARDS),
    ("synonym", "annotate/english/kinds", TABLE, f"{TABLE}0", {"merge", "synthesize"}),
    ("loss", "training/losses", "(batch.task == t)", "(batch.task != t)", {"train", "checkpoint"}),
    ("compression-of-shards", "core/artifacts", '"zstd"', '"snappy"', SHARDS - {"checkpoint"}),
]


@pytest.mark.parametrize(("what", "where", "old", "new", "stages"), DECISIVE, ids=[row[0] for row in DECISIVE])
def test_what_decides_changes_the_address_of_the_stages_that_use_it(
    tree: Path, what: str, where: str, old: str, new: str, stages: set[str]
) -> None:
    assert changed(tree, f"ouro/{where}.py", old, new) == stages, what


def test_only_the_proposers_and_the_annotator_in_use_decide(tree: Path) -> None:
    before = addresses(propose={"proposers": ["rpn"]})
    for file in (
        "ouro/vision/ocr.py",
        "ouro/vision/grounding.py",
        "ouro/vision/openai.py",
        "ouro/vision/selective_search.py",
    ):
        (tree / file).write_text((tree / file).read_text() + "\nNEW = 1\n")
    assert addresses(propose={"proposers": ["rpn"]}) == before
    assert addresses(propose={"proposers": ["ocr"]})["propose"] != before["propose"]


def test_a_regular_expression_of_the_reading_of_replies_changes_describe(tree: Path) -> None:
    before = addresses()
    edit(tree, "ouro/annotate/describe.py", r"(?<!\w){re.escape(text)}", r"{re.escape(text)}")
    after = addresses()
    assert {stage for stage in before if before[stage] != after[stage]} == {"describe"}
