"""Benchmarks as Hugging Face data sets: parquet that the library writes, read back with each benchmark's columns."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from benchmark_cases import CASES, FIXTURES

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.hf import HubTable, open_table
from ouro.benchmarks.loaders.registry import BENCHMARKS, benchmark, columns_of
from ouro.core.records import Rejected

Rows = list[dict[str, Any]]
CUP, SIGN, CHART, PAGE = "cup.png", "sign.png", "chart.png", "page.png"


def _vqa(main: str, other: str, count: int) -> list[dict[str, Any]]:
    answers = [main] * count + [other] * (10 - count)
    return [{"answer": a, "answer_confidence": "yes", "answer_id": n + 1} for n, a in enumerate(answers)]


def _ten(main: str, other: str, count: int) -> list[str]:
    return [main] * count + [other] * (10 - count)


ROWS: dict[str, Rows] = {
    "vqav2": [
        {"question_id": 7000, "image": CUP, "question": "Is the cup full?", "answers": _vqa("no", "yes", 6),
         "answer_type": "yes/no", "question_type": "is the"},
        {"question_id": 7001, "image": CUP, "question": "What color is the cup?",
         "answers": _vqa("red", "dark red", 7), "answer_type": "other", "question_type": "what color is the"},
        {"question_id": 8000, "image": SIGN, "question": "How many signs are there?", "answers": _vqa("1", "2", 9),
         "answer_type": "number", "question_type": "how many"},
    ],
    "okvqa": [
        {"question_id": "75", "image": CUP, "question": "Which drink is usually served in this?",
         "answers": _ten("coffee", "tea", 8), "question_type": "five"},
        {"question_id": "125", "image": SIGN, "question": "In which country was this sport invented?",
         "answers": _ten("england", "india", 6), "question_type": "two"},
    ],
    "vizwiz": [
        {"question_id": CUP, "image": CUP, "question": "What is this?", "answers": _ten("mug", "cup", 7)},
        {"question_id": SIGN, "image": SIGN, "question": "What does it say at the bottom?",
         "answers": _ten("unanswerable", "nothing", 8)},
    ],
    "vsr": [
        {"image": CUP, "caption": "The cup is on the table.", "label": 1, "relation": "on"},
        {"image": CUP, "caption": "The table is on the cup.", "label": 0, "relation": "on"},
        {"image": SIGN, "caption": "The sign is left of the door.", "label": 0, "relation": "left of"},
    ],
    "scienceqa": [
        {"image": None, "question": "Which season follows spring?", "choices": ["summer", "autumn"], "answer": 0,
         "hint": "", "subject": "natural science"},
        {"image": CUP, "question": "Which of these is a solid?", "choices": ["steam", "the cup", "the coffee"],
         "answer": 1, "hint": "The picture shows a cup of hot coffee.", "subject": "natural science"},
        {"image": SIGN, "question": "What is sold here?", "choices": ["coffee", "shoes"], "answer": 0, "hint": "",
         "subject": "social science"},
    ],
    "iconqa": [
        {"question_id": "11", "query_image": CHART, "question": "How many bars are there?", "choices": None,
         "answers": "4", "ques_type": "fill_in_blank"},
        {"question_id": "12", "query_image": CHART, "question": "Which bar is the tallest?",
         "choices": "the first,the third,the last", "answers": "the third", "ques_type": "choose_txt"},
        {"question_id": "13", "query_image": CHART, "question": "Which picture has more dots?",
         "choices": "choice_0.png,choice_1.png", "answers": "choice_0.png", "ques_type": "choose_img"},
    ],
    "docvqa": [
        {"questionId": "7", "image": PAGE, "question": "What is the total?", "answers": ["12.50", "$12.50"],
         "question_types": ["table/list", "form"]},
        {"questionId": "8", "image": PAGE, "question": "What kind of document is this?", "answers": ["Invoice"],
         "question_types": ["layout"]},
    ],
    "infovqa": [
        {"questionId": "70", "image": CHART, "question": "How many bars are shown?", "answers": ["4", "four"],
         "answer_type": ["non-extractive"]},
        {"questionId": "71", "image": CHART, "question": "Which bar is lowest?", "answers": ["the first"],
         "answer_type": ["single span"]},
    ],
    "chartqa": [
        {"type": "human_test", "image": CHART, "question": "Which bar is the tallest?", "answer": "3"},
        {"type": "human_test", "image": CHART, "question": "Is the last bar taller than the first?", "answer": "Yes"},
        {"type": "augmented_test", "image": CHART, "question": "What is the value of the second bar?",
         "answer": "35.5"},
    ],
    "textvqa": [
        {"question_id": 7, "image": SIGN, "question": "what does the sign say?",
         "answers": _ten("cafe", "the cafe", 9), "ocr_tokens": ["CAFE"]},
        {"question_id": 8, "image": SIGN, "question": "What is the first letter?",
         "answers": _ten("c", "letter c", 6), "ocr_tokens": ["CAFE"]},
    ],
    "ai2d": [
        {"image": CUP, "question": "What eats the hawk?", "options": ["a fox", "nothing", "grass", "a mouse"],
         "answer": "1"},
        {"image": CUP, "question": "Which letter marks the nest?", "options": ["A", "B", "C", "D"], "answer": "3"},
        {"image": SIGN, "question": "Which stage comes first?", "options": ["egg", "larva", "pupa", "adult"],
         "answer": "0"},
    ],
    "stvqa": [
        {"question_id": 7, "image": SIGN, "question": "How many lives does the sign promise?",
         "answers": ["nine lives", "nine"]},
        {"question_id": 8, "image": SIGN, "question": "What is written in white?", "answers": ["cafe"]},
    ],
    "estvqa": [
        {"question_id": 7, "image": SIGN, "question": "What is the cafe called?", "answer": "golden cafe"},
        {"question_id": 8, "image": SIGN, "question": "店名是什么?", "answer": "金色咖啡"},
    ],
    "coco-caption": [
        {"question_id": "COCO_val2014_000000000007.jpg", "id": 7, "image": CUP, "question": "Describe it.",
         "answer": ["A red cup.", "A cup on a table."]},
        {"question_id": "COCO_val2014_000000000009.jpg", "id": 9, "image": SIGN, "question": "Describe it.",
         "answer": ["A blue sign with white letters."]},
    ],
    "flickr30k": [
        {"img_id": "0", "image": CUP, "caption": ["A cup stands on a brown table.", "Somebody left a red cup."]},
    ],
    "textcaps": [
        {"image_id": "00ab", "image": SIGN, "caption_str": ["A blue sign says CAFE.", "The word CAFE on a sign."]},
        {"image_id": "00cd", "image": PAGE,
         "caption_str": ["An invoice over 12.50.", "A page that is headed Invoice."]},
    ],
    "pope": [
        {"question_id": "1", "image": CUP, "question": "Is there a cup in the image?", "answer": "yes",
         "category": "random"},
        {"question_id": "2", "image": CUP, "question": "Is there a dog in the image?", "answer": "no",
         "category": "random"},
        {"question_id": "1", "image": CUP, "question": "Is there a person in the image?", "answer": "no",
         "category": "popular"},
        {"question_id": "1", "image": CUP, "question": "Is there a table in the image?", "answer": "yes",
         "category": "adversarial"},
    ],
    "refcoco": [
        {"question_id": "7_1", "image": CUP, "question": "-", "answer": ["left cup", "red cup"],
         "bbox": [30.0, 25.0, 25.0, 25.0], "file_name": "cup.png", "split": "testA"},
        {"question_id": "8_1", "image": SIGN, "question": "-", "answer": ["blue sign"],
         "bbox": [10.0, 10.0, 76.5, 40.0], "file_name": "sign.png", "split": "testA"},
    ],
    "contextual": [
        {"image_url": "https://pictures.example/a/sign.png?raw=1", "image": SIGN, "category": "shopping",
         "instruction": "What can be ordered here, and\nin which colour is it written?",
         "response": 'Coffee, "CAFE" is written in white.'},
        {"image_url": "https://pictures.example/a/page.png", "image": PAGE, "category": None,
         "instruction": "What must be paid?", "response": "12.50"},
    ],
}  # fmt: skip
GQA: Rows = [
    {"id": "20100", "imageId": "n7", "question": "Is the cup red?", "answer": "yes", "types": {"structural": "verify"}},
    {"id": "20101", "imageId": "n7", "question": "What is the cup standing on?", "answer": "table",
     "types": {"structural": "query"}},
]  # fmt: skip
# VizWiz's copy has no kinds; ST-VQA's no sources; kinds of the fixtures' file names are kinds of rows there.
KINDLESS = {"vizwiz", "stvqa"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)


def _dataset(rows: Rows, image: str = "image") -> Any:
    import datasets

    def cell(name: str | None) -> dict[str, Any] | None:
        return None if name is None else {"bytes": (FIXTURES / "images" / name).read_bytes(), "path": name}

    dataset: Any = datasets.Dataset.from_list([{**r, image: cell(r[image])} if image in r else r for r in rows])
    return dataset.cast_column(image, datasets.Image()) if image in rows[0] else dataset


def _write(folder: Path, rows: Rows, image: str = "image") -> str:
    folder.mkdir(parents=True)
    _dataset(rows, image).to_parquet(str(folder / "test-00000-of-00001.parquet"))
    return str(folder)


def _table(tmp_path: Path, name: str) -> HubTable:
    columns = columns_of(benchmark(name))
    if name == "gqa":
        pictures = _write(tmp_path / "pictures", [{"id": "n8", "image": SIGN}, {"id": "n7", "image": CUP}])
        return open_table(_write(tmp_path / "rows", GQA), columns, pictures=pictures)
    return open_table(_write(tmp_path / "rows", ROWS[name], columns.image), columns)


def _comparable(items: list[Item], name: str) -> list[Any]:
    """What files and data set must agree on: not the picture's name, nor ids where the files make them up."""
    return [
        (i.question, i.references, "" if name in KINDLESS else i.kind, i.choices, i.context, i.box, i.size)
        for i in items
    ]


@pytest.mark.parametrize("name", [*ROWS, "gqa"])
def test_columns_give_the_same_items_as_the_files(tmp_path: Path, name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    loaded_items = list(_table(tmp_path, name).items())
    items = [one for one in loaded_items if isinstance(one, Item)]
    assert _comparable(items, name) == _comparable(list(case.items), name)
    rejected = [one for one in loaded_items if isinstance(one, Rejected)]
    assert [one.reason for one in rejected] == [reason for _, reason in case.rejected]
    if columns_of(benchmark(name)).item_id:
        assert [i.item_id for i in items] == [i.item_id for i in case.items]


def test_every_benchmark_with_columns_is_tried() -> None:
    assert {*ROWS, "gqa"} == {name for name, bench in BENCHMARKS.items() if bench.columns}


def test_a_benchmark_without_columns_says_which_files_it_needs() -> None:
    with pytest.raises(BenchmarkFileError, match=r"DeepForm has no usual Hugging Face form: .*document\.jsonl"):
        columns_of(benchmark("deepform"))


def test_pictures_are_opened_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the items decodes no picture, not even of a column not ours; picture() opens the one of its row."""
    import datasets
    import PIL.Image

    dataset: Any = _dataset(ROWS["docvqa"])
    dataset = dataset.add_column(
        "thumbnail", [row["image"] for row in dataset.cast_column("image", datasets.Image(decode=False))]
    )
    dataset.cast_column("thumbnail", datasets.Image()).save_to_disk(str(tmp_path / "saved"))
    table = open_table(str(tmp_path / "saved"), columns_of(benchmark("docvqa")))
    with monkeypatch.context() as patched:
        patched.setattr(PIL.Image, "open", lambda *_: pytest.fail("a picture was decoded"))  # pyright: ignore
        items = [one for one in table.items() if isinstance(one, Item)]
    assert [item.image for item in items] == ["0", "1"]
    with PIL.Image.open(FIXTURES / "images" / PAGE) as original:
        assert table.picture(items[1].image).tobytes() == original.convert("RGB").tobytes()


def test_gqa_takes_pictures_from_its_second_data_set(tmp_path: Path) -> None:
    import PIL.Image

    table = _table(tmp_path, "gqa")
    assert [one.image for one in table.items() if isinstance(one, Item)] == ["n7", "n7"]
    with PIL.Image.open(FIXTURES / "images" / CUP) as original:
        assert table.picture("n7").tobytes() == original.convert("RGB").tobytes()
    with pytest.raises(BenchmarkFileError, match="no id 'n9'"):
        table.picture("n9")


def test_gqa_asks_for_its_second_data_set(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFileError, match=r"second data set \(columns id, image\): name it too"):
        open_table(_write(tmp_path / "rows", GQA), columns_of(benchmark("gqa")))


def test_a_folder_that_save_to_disk_wrote_is_read(tmp_path: Path) -> None:
    _dataset(ROWS["textvqa"]).save_to_disk(str(tmp_path / "saved"))
    table = open_table(str(tmp_path / "saved"), columns_of(benchmark("textvqa")))
    assert [one.item_id for one in table.items() if isinstance(one, Item)] == ["7", "8"]


def test_only_the_files_of_the_split_are_read(tmp_path: Path) -> None:
    folder = Path(_write(tmp_path / "rows", ROWS["textvqa"]))
    (folder / "validation-00000-of-00001.parquet").write_bytes(b"not parquet")
    table = open_table(str(folder), columns_of(benchmark("textvqa")), split="test")
    assert len(list(table.items())) == 2


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "answers"} for row in ROWS["textvqa"]]
    with pytest.raises(BenchmarkFileError, match="no column answers; it has question_id, image, question, ocr_tokens"):
        open_table(_write(tmp_path / "rows", rows), columns_of(benchmark("textvqa")))


def test_a_null_answer_is_a_counted_rejection(tmp_path: Path) -> None:
    rows = [{**ROWS["docvqa"][0], "answers": None}, ROWS["docvqa"][1]]
    table = open_table(_write(tmp_path / "rows", rows), columns_of(benchmark("docvqa")))
    first, second = table.items()
    assert isinstance(first, Rejected) and (first.reason, first.record_id[-5:]) == ("no_answer", "row 0")
    assert isinstance(second, Item)


def test_a_picture_that_is_only_named_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cell = pa.array([{"bytes": None, "path": "/etc/hostname"}], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    rows = pa.Table.from_pylist([{k: v for k, v in ROWS["textvqa"][0].items() if k != "image"}])
    pq.write_table(rows.append_column("image", cell), tmp_path / "test.parquet")
    table = open_table(str(tmp_path / "test.parquet"), columns_of(benchmark("textvqa")))
    with pytest.raises(BenchmarkFileError, match="holds no bytes"):
        table.picture("0")


@pytest.mark.parametrize("content", ["empty", "broken", "nothing"])
def test_what_is_no_data_set_is_said_so(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "rows"
    if content != "nothing":
        folder.mkdir()
    if content == "broken":
        (folder / "test.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BenchmarkFileError, match="expected"):
        open_table(str(folder), columns_of(benchmark("textvqa")))


def test_code_of_a_data_set_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a loading script beside its parquet files: the files are read, the script is not."""
    folder = Path(_write(tmp_path / "rows", ROWS["textvqa"]))
    (folder / "rows.py").write_text("import builtins\nbuiltins.loading_script_ran = True\n", encoding="utf-8")
    list(open_table(str(folder), columns_of(benchmark("textvqa"))).items())
    assert not hasattr(builtins, "loading_script_ran")


def test_icons_are_chosen_by_their_text(tmp_path: Path) -> None:
    """The hub's IconQA holds the text of the right option, even where that reads like an index."""
    row = {**ROWS["iconqa"][1], "choices": "3,1,2", "answers": "2"}
    table = open_table(_write(tmp_path / "a", [row], "query_image"), columns_of(benchmark("iconqa")))
    assert [one.references for one in table.items() if isinstance(one, Item)] == [("C",)]
    odd = open_table(_write(tmp_path / "b", [{**row, "answers": "7"}], "query_image"), columns_of(benchmark("iconqa")))
    with pytest.raises(BenchmarkFileError, match=r"row 0: answers is '7', expected one of \['3', '1', '2'\]"):
        list(odd.items())
