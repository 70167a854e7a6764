"""Every benchmark in each form that its files have: fixture in, the items written down by hand out."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_cases import CASES, FIXTURES, Case

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.registry import BENCHMARKS, TABLES, benchmark, locate, prompt_of
from ouro.core.records import Rejected

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{'+'.join(case.files)}")


@each_case
def test_the_official_files_give_the_expected_items(case: Case) -> None:
    items = list(benchmark(case.name).load(case.paths))
    assert tuple(one for one in items if isinstance(one, Item)) == case.items
    rejected = [one for one in items if isinstance(one, Rejected)]
    assert [one.reason for one in rejected] == [reason for _, reason in case.rejected]
    for one, (end, _) in zip(rejected, case.rejected, strict=True):
        assert one.stage == "benchmark" and one.record_id.endswith(end)


@each_case
def test_the_prompt_is_the_customary_one(case: Case) -> None:
    assert prompt_of(benchmark(case.name), case.items[0]) == case.prompt


@each_case
def test_files_may_stand_in_any_order(case: Case) -> None:
    backwards = list(benchmark(case.name).load(case.paths[::-1]))
    assert {one for one in backwards if isinstance(one, Item)} == set(case.items)


def test_every_benchmark_has_a_case() -> None:
    assert {case.name for case in CASES} == set(BENCHMARKS)


def test_the_twenty_of_the_paper_stand_in_its_four_tables() -> None:
    by_table = {table: [b.title for b in BENCHMARKS.values() if b.table == table] for table in range(1, 5)}
    assert by_table == {
        1: ["OKVQA", "VQAv2", "VizWiz", "GQA", "VSR", "ScienceQA", "IconQA"],
        2: ["DocVQA", "ChartQA", "InfoVQA", "DeepForm", "KLC", "WTQ"],
        3: ["TextVQA", "AI2D", "ST-VQA", "EST-VQA"],
        4: ["COCO Caption", "Flickr30K", "TextCaps"],
    }
    beyond = ["pope", "refcoco", "contextual", "reporting-bias", "held-out"]
    assert [b.name for b in BENCHMARKS.values() if b.table == 0] == beyond
    assert {b.family for b in BENCHMARKS.values()} == set(TABLES)


def test_a_prompt_may_hold_braces() -> None:
    item = Item("1", "a.png", "What is {x}?", ("1",))
    assert prompt_of(benchmark("vqav2"), item).startswith("What is {x}?\n")


def test_a_choice_of_icons_is_asked_by_letter() -> None:
    item = Item("12", "a.png", "Which?", ("B",), choices=("this", "that"))
    prompt = prompt_of(benchmark("iconqa"), item)
    assert prompt == ("Which?\nA. this\nB. that\nPlease answer with the option letter from the given choices directly.")


# ---- names and places ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_fixture_folder_has_the_files_that_the_registry_names(name: str) -> None:
    paths = locate(BENCHMARKS[name], FIXTURES / name)
    assert any(isinstance(one, Item) for one in BENCHMARKS[name].load(paths))


@pytest.mark.parametrize(("typed", "meant"), [("vqa2", "vqav2"), ("DocVqa", "docvqa"), ("textcap", "textcaps")])
def test_an_unknown_name_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(BenchmarkFileError, match=f"unknown benchmark '{typed}'; did you mean '{meant}'"):
        benchmark(typed)


def test_missing_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "mscoco_val2014_annotations.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BenchmarkFileError) as raised:
        locate(benchmark("okvqa"), tmp_path)
    message = str(raised.value)
    assert f"{tmp_path}: OpenEnded_mscoco_val2014_questions.json not found" in message
    assert "mscoco_val2014_annotations.json not found" not in message
    assert "okvqa.allenai.org" in message


def test_the_form_that_is_nearest_to_complete_is_reported(tmp_path: Path) -> None:
    (tmp_path / "in.tsv.xz").write_bytes(b"")
    with pytest.raises(
        BenchmarkFileError, match=r"expected\.tsv not found; KLC needs in\.tsv\.xz and expected\.tsv, or"
    ):
        locate(benchmark("klc"), tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFileError, match=r"no such folder; VSR needs test\.jsonl"):
        locate(benchmark("vsr"), tmp_path / "nowhere")


def test_files_of_several_splits_are_not_guessed_at(tmp_path: Path) -> None:
    for split in ("random", "zeroshot"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "test.jsonl").touch()
    with pytest.raises(BenchmarkFileError, match=r"test\.jsonl stands there 2 times .*name the folder of one"):
        locate(benchmark("vsr"), tmp_path)
    assert locate(benchmark("vsr"), tmp_path / "random") == (tmp_path / "random" / "test.jsonl",)
