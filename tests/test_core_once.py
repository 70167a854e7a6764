"""What exists once and is used everywhere: the stages' folders, their counts, runs of pictures, the base of errors."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import pytest
from described import NAMES, described

from ouro.core.artifacts import write_shard
from ouro.core.counts import StageCount, count_records, count_stages
from ouro.core.errors import OuroError
from ouro.core.images import chunks
from ouro.core.layout import layout_of
from ouro.core.records import Rejected, Scene
from ouro.core.tokens import load_token_counter
from tasks.errors import explain, is_ours

ROOT = Path(__file__).resolve().parent.parent


def test_a_layout_knows_the_folder_of_every_stage_in_their_order() -> None:
    layout = layout_of(Path("out"))
    assert list(layout.stages().items()) == [
        ("ingest", layout.images), ("propose", layout.regions), ("describe", layout.descriptions),
        ("merge", layout.scenes), ("synthesize", layout.qa),
    ]  # fmt: skip
    assert layout.cache == Path("out/.ouro/cache")


def test_counts_are_sums_over_shards_and_leave_out_stages_that_have_not_run(tmp_path: Path) -> None:
    """Four shards of one image, two regions and two descriptions each; two shards of scenes: 1 + 2 in, 2 rejected."""
    layout = described(tmp_path)
    write_shard(layout.scenes / NAMES[0], Scene, [Scene("a", "text", (), ())], n_in=1)
    dropped = [Rejected("merge", "b", "empty"), Rejected("merge", "c", "empty")]
    write_shard(layout.scenes / NAMES[1], Scene, [], n_in=2, rejected=dropped)
    assert count_stages(layout) == [
        StageCount("ingest", 4, 4, {}), StageCount("propose", 8, 8, {}), StageCount("describe", 8, 8, {}),
        StageCount("merge", 3, 1, {"empty": 2}),
    ]  # fmt: skip
    assert count_records("merge", []) == StageCount("merge", 0, 0, {})


def test_runs_of_pictures_keep_the_order_and_the_limit_and_lose_none() -> None:
    """At most 10: 4 + 6 fits exactly, 7 does not join, 20 is alone although it is over the limit."""
    assert list(chunks([4, 6, 7, 20, 1, 2], pixels=lambda n: n, limit=10)) == [[4, 6], [7], [20], [1, 2]]
    assert list(chunks(list[int](), pixels=lambda n: n)) == []


def test_pictures_of_a_run_are_opened_one_ahead_and_no_more() -> None:
    opened: list[int] = []
    first = next(chunks((opened.append(n) or n for n in range(5, 10)), pixels=lambda n: n, limit=11))
    assert first == [5, 6] and opened == [5, 6, 7]


def test_tokens_are_counted_by_the_tokenizer_or_not_at_all(tmp_path: Path) -> None:
    count = load_token_counter(ROOT / "models/nano/tokenizer.json")
    assert count is not None and count("a table with a star.") == 6  # the full stop is a token of its own
    assert load_token_counter(tmp_path / "tokenizer.json") is None


def exception_classes() -> list[tuple[str, str, list[str]]]:
    """(file, class, names of its bases) of every class of ours that is an exception by a base's name."""
    builtin = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    classes: list[tuple[str, str, list[str]]] = []
    for package in ("ouro", "tasks", "flows", "cli"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
                if isinstance(node, ast.ClassDef) and builtin & set(bases):
                    classes.append((path.relative_to(ROOT).as_posix(), node.name, bases))
    return classes


def test_every_error_of_ours_has_the_one_base() -> None:
    classes = exception_classes()
    assert len(classes) > 40
    strange = [f"{file}: {name}" for file, name, bases in classes if name != "OuroError" and "OuroError" not in bases]
    assert strange == []


@pytest.mark.parametrize(("base", "code"), [(ValueError, 2), (ImportError, 2), (RuntimeError, 1)])
def test_an_error_of_ours_is_one_sentence_and_a_library_s_is_a_defect(
    base: type[Exception], code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    ours = type("Ours", (OuroError, base), {})("k: got 1, expected 2. Fix: set it")
    assert is_ours(ours) and explain(ours) == code
    assert capfd.readouterr().err == "error: k: got 1, expected 2. Fix: set it\n"
    assert not is_ours(base("theirs")) and explain(base("theirs")) == 1
    assert "This is a defect of Ouro" in capfd.readouterr().err
