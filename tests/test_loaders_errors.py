"""What is wrong with a benchmark's files: one clear error for the file, a counted rejection for a record."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_cases import CASES, FIXTURES, Case

from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.loaders.general import coco_picture
from ouro.benchmarks.loaders.registry import BENCHMARKS, benchmark
from ouro.core.records import Rejected

FIRST = tuple({case.name: case for case in reversed(CASES)}.values())  # one case a benchmark
each_benchmark = pytest.mark.parametrize("case", FIRST, ids=lambda case: case.name)
Change = Callable[[Any], Any]


def _copied(case: Case, folder: Path) -> list[Path]:
    """The files of a case, to be spoilt."""
    shutil.copytree(FIXTURES / case.name, folder / "files")
    return [folder / "files" / file for file in case.files]


def _text_files(paths: list[Path]) -> list[Path]:
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    return [file for file in files if file.suffix != ".xz"]


def _spoilt(name: str, folder: Path, change: Change, file: int = 0) -> list[Path]:
    """The first case of a benchmark with its JSON, or the first of its JSON lines, changed."""
    case = next(case for case in CASES if case.name == name)
    paths = _copied(case, folder)
    path = paths[file]
    if path.suffix == ".jsonl" or name == "pope":
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[0] = json.dumps(change(json.loads(lines[0])))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    return paths


def _load(name: str, paths: list[Path]) -> list[Item | Rejected]:
    return list(benchmark(name).load(paths))


def _at(*steps: str | int, value: Any) -> Change:
    """Sets one value deep in a document; `...` drops the key."""

    def change(document: Any) -> Any:
        inner = document
        for step in steps[:-1]:
            inner = inner[step]
        if value is ...:
            del inner[steps[-1]]
        else:
            inner[steps[-1]] = value
        return document

    return change


# ---- every benchmark -------------------------------------------------------------------------------


@each_benchmark
def test_a_missing_file_is_named(case: Case, tmp_path: Path) -> None:
    paths = _copied(case, tmp_path)
    gone = paths[-1]
    gone.unlink()
    with pytest.raises(BenchmarkFileError, match=re.escape(str(gone))):
        _load(case.name, paths)


@each_benchmark
def test_a_file_that_is_cut_off_is_named(case: Case, tmp_path: Path) -> None:
    """JSON and CSV show it as broken; of a table the last row lacks fields, of the pairs a line."""
    paths = _copied(case, tmp_path)
    file = _text_files(paths)[0]
    content = file.read_bytes().rstrip()
    cut = content[: content.rindex(b"\n")] if case.name == "klc" else content[: len(content) * 2 // 3]
    file.write_bytes(content.split(b"\t")[0] if case.name == "wtq" else cut)
    with pytest.raises(BenchmarkFileError, match=re.escape(file.name)):
        _load(case.name, paths)


@each_benchmark
def test_latin_1_is_refused(case: Case, tmp_path: Path) -> None:
    paths = _copied(case, tmp_path)
    file = _text_files(paths)[0]
    file.write_bytes(b"\xe9" + file.read_bytes())
    with pytest.raises(BenchmarkFileError, match=f"{re.escape(str(file))}: not UTF-8"):
        _load(case.name, paths)


@each_benchmark
def test_a_byte_order_mark_changes_nothing(case: Case, tmp_path: Path) -> None:
    paths = _copied(case, tmp_path)
    for file in _text_files(paths):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert tuple(one for one in _load(case.name, paths) if isinstance(one, Item)) == case.items


@each_benchmark
def test_an_empty_file_is_said_to_be_empty(case: Case, tmp_path: Path) -> None:
    paths = _copied(case, tmp_path)
    file = _text_files(paths)[0]
    file.write_bytes(b"")
    with pytest.raises(BenchmarkFileError, match=f"{re.escape(str(file))}: the file is empty"):
        _load(case.name, paths)


@each_benchmark
def test_the_wrong_number_of_files_is_told_with_what_is_needed(case: Case) -> None:
    with pytest.raises(BenchmarkFileError, match=r"got 0 files \(no file\), expected "):
        _load(case.name, [])


@each_benchmark
def test_files_of_another_benchmark_are_refused(case: Case) -> None:
    """Neither VizWiz's plain list nor DocVQA's object is taken for its own by another loader."""
    plain, keyed = FIXTURES / "vizwiz" / "val.json", FIXTURES / "docvqa" / "val_v1.0_withQT.json"
    path = FIXTURES / case.name / case.files[0]
    for other in (plain, keyed):
        if case.name in ("vizwiz", "docvqa"):
            continue
        with pytest.raises(BenchmarkFileError):
            _load(case.name, [other, path][: len(case.files)])


# ---- one record ------------------------------------------------------------------------------------

TEN_NULL = [{"answer": None}] * 10
MISSING: list[tuple[str, int, Change, str]] = [
    ("vqav2", 0, _at("questions", 0, "question", value=...), r"questions\[0\]: no key 'question' \(keys: image_id, "),
    ("okvqa", 0, _at("annotations", 0, "answers", value=...), r"annotations\[0\]: no key 'answers'"),
    ("vizwiz", 0, _at(0, "answers", value=...), r"\[0\]: no key 'answers' .*a test split without answers"),
    ("gqa", 0, _at("20101", "imageId", value=...), r"'20101': no key 'imageId'"),
    ("vsr", 0, _at("caption", value=...), r"line 1: no key 'caption'"),
    ("scienceqa", 0, _at("7", "answer", value=...), r"'7': no key 'answer'"),
    ("iconqa", 1, _at("12", "ques_type", value=...), r"'12': no key 'ques_type'"),
    ("docvqa", 0, _at("data", 1, "questionId", value=...), r"data\[1\]: no key 'questionId'"),
    ("infovqa", 0, _at("data", 0, "image_local_name", value=...), r"no key 'image_local_name' \(keys: "),
    ("chartqa", 0, _at(0, "query", value=...), r"test_human.json: \[0\]: no key 'query'"),
    ("deepform", 0, _at("annotations", 0, "key", value=...), r"line 1: annotations\[0\]: no key 'key'"),
    ("textvqa", 0, _at("data", 0, "image_id", value=...), r"data\[0\]: no key 'image_id'"),
    ("stvqa", 0, _at("data", 1, "file_path", value=...), r"data\[1\]: no key 'file_path'"),
    ("estvqa", 0, _at(0, "answer", value=...), r"\[0\]: no key 'answer' or 'answers'"),
    ("coco-caption", 0, _at("images", 0, "split", value=...), r"images\[0\]: no key 'split'"),
    ("flickr30k", 0, _at("images", 0, "sentences", 0, "raw", value=...), r"sentences\[0\]: no key 'raw'"),
    ("textcaps", 0, _at("data", 0, "image_id", value=...), r"data\[0\]: no key 'image_id'"),
    ("pope", 0, _at("label", value=...), r"coco_pope_random.json line 1: no key 'label'"),
    ("refcoco", 0, _at("bbox", value=...), r"line 1: no key 'bbox'"),
    ("reporting-bias", 0, _at("probe", value=...), r"line 1: no key 'probe'"),
]
WRONG: list[tuple[str, int, Change, str]] = [
    ("vqav2", 0, _at("questions", 0, "question_id", value=None), "question_id is None, expected an id"),
    ("vqav2", 1, _at("annotations", 1, "image_id", value=9), r"image_id 7, but .* says 9"),
    ("gqa", 0, _at("20100", "question", value=["x"]), "question is \\['x'\\], expected text"),
    ("vsr", 0, _at("label", value=2), "label is '2', expected 0 or 1"),
    ("scienceqa", 0, _at("7", "answer", value=3), "answer is '3', expected the index of one of 3 choices"),
    ("scienceqa", 1, _at("test", value=["7", "99"]), r"1 problems of .* are missing: 99"),
    ("scienceqa", 1, _at("test", value=[]), "no ids under test"),
    ("iconqa", 1, _at("12", "ques_type", value="other"), "ques_type is 'other', expected choose_txt"),
    ("docvqa", 0, _at("data", 0, "answers", value=7), "answers is 7, expected a list of texts"),
    ("textvqa", 0, _at("data", 0, value="x"), r"data\[0\]: got 'x', expected an object"),
    ("pope", 0, _at("label", value="Yes"), "label is 'Yes', expected yes or no"),
    ("refcoco", 0, _at("bbox", value=[1, 2, 3]), r"bbox is \[1, 2, 3\], expected 4 numbers"),
    ("refcoco", 0, _at("width", value=...), r"size is \[None, 72\], expected 2 numbers"),
    ("reporting-bias", 0, _at("captions", value=["a", "b"]), "expected 4 captions for the probe spatial"),
    ("reporting-bias", 0, _at("probe", value="color"), "probe is 'color', expected one of spatial, negation"),
]
NULL: list[tuple[str, int, Change, str]] = [
    ("vqav2", 1, _at("annotations", 1, "answers", value=TEN_NULL), "no_answer"),
    ("okvqa", 0, _at("annotations", 0, "answers", value=None), "no_answer"),
    ("vizwiz", 0, _at(0, "answers", value=[]), "no_answer"),
    ("gqa", 0, _at("20100", "answer", value=None), "no_answer"),
    ("vsr", 0, _at("label", value=None), "no_answer"),
    ("scienceqa", 0, _at("7", "answer", value=None), "no_answer"),
    ("vizwiz", 0, _at(0, "answers", value=["mug"] * 9), "not_ten_answers"),
    ("vqav2", 1, _at("annotations", 0, "answers", value=[{"answer": "1"}] * 11), "not_ten_answers"),
    ("docvqa", 0, _at("data", 0, "answers", value=None), "no_answer"),
    ("docvqa", 0, _at("data", 0, "answers", value=["", " "]), "no_answer"),
    ("chartqa", 0, _at(0, "label", value=None), "no_answer"),
    ("textvqa", 0, _at("data", 0, "question", value=" "), "no_question"),
    ("estvqa", 0, _at(0, "answer", value=None), "no_answer"),
    ("coco-caption", 0, _at("images", 0, "sentences", value=[]), "no_caption"),
    ("pope", 0, _at("label", value=None), "no_label"),
    ("refcoco", 0, _at("bbox", value=None), "no_box"),
    ("refcoco", 0, _at("bbox", value=[float("nan"), 1, 2, 3]), "bad_box"),
    ("refcoco", 0, _at("bbox", value=[1, 1, float("inf"), 3]), "bad_box"),
    ("refcoco", 0, _at("bbox", value=[1, 1, 0, 3]), "bad_box"),
    ("reporting-bias", 0, _at("answer", value=None), "no_answer"),
]


@pytest.mark.parametrize(("name", "file", "change", "message"), MISSING + WRONG)
def test_a_missing_or_wrong_value_is_an_error_of_its_record(
    name: str, file: int, change: Change, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchmarkFileError, match=message) as raised:
        _load(name, _spoilt(name, tmp_path, change, file))
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(("name", "file", "change", "reason"), NULL)
def test_a_null_is_a_counted_rejection_of_its_record(
    name: str, file: int, change: Change, reason: str, tmp_path: Path
) -> None:
    case = next(case for case in CASES if case.name == name)
    n_in = len(case.items) + len(case.rejected)
    items = _load(name, _spoilt(name, tmp_path, change, file))
    rejected = [one for one in items if isinstance(one, Rejected)]
    assert reason in [one.reason for one in rejected]
    lost = 2 if name == "refcoco" else 1  # its first record holds two expressions
    assert len(items) - len(rejected) == len(case.items) - lost
    assert len(items) == n_in - lost + 1


def _twice(name: str, folder: Path) -> list[Path]:
    def change(data: Any) -> Any:
        records = data if isinstance(data, list) else data[next(k for k in ("data", "images") if k in data)]
        records.append(records[0])
        return data

    return _spoilt(name, folder, change)


@pytest.mark.parametrize(
    ("name", "twice"),
    [("vizwiz", "cup.png"), ("docvqa", "7"), ("textvqa", "7"), ("stvqa", "7"), ("estvqa", "7"), ("flickr30k", "0")],
)
def test_an_id_that_stands_twice_is_listed(name: str, twice: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFileError, match=f"1 ids stand more than once, expected once: {twice};"):
        _load(name, _twice(name, tmp_path))


def test_the_same_file_given_twice_is_noticed() -> None:
    path = FIXTURES / "pope" / "coco_pope_random.json"
    with pytest.raises(BenchmarkFileError, match="2 ids stand more than once, expected once: random-1, random-2; "):
        _load("pope", [path, path])


def test_a_test_split_without_answers_is_an_error_that_says_so(tmp_path: Path) -> None:
    def hide(data: Any) -> Any:
        return {**data, "data": [{**one, "answers": None} for one in data["data"]]}

    with pytest.raises(BenchmarkFileError, match=r"no record can be scored \(2 no_answer\); is it a test split"):
        _load("docvqa", _spoilt("docvqa", tmp_path, hide))


# ---- files that belong together --------------------------------------------------------------------


def test_the_same_half_twice_is_noticed() -> None:
    questions = FIXTURES / "vqav2" / "v2_OpenEnded_mscoco_val2014_questions.json"
    with pytest.raises(BenchmarkFileError, match="both hold questions; give the other file too"):
        _load("vqav2", [questions, questions])
    problems = FIXTURES / "scienceqa" / "problems.json"
    with pytest.raises(BenchmarkFileError, match=r"neither holds lists of ids; give pid_splits\.json too"):
        _load("scienceqa", [problems, problems])


def test_questions_and_annotations_of_different_splits_are_noticed(tmp_path: Path) -> None:
    def less(key: str) -> Change:
        return lambda data: {**data, key: data[key][1:]}

    with pytest.raises(BenchmarkFileError, match=r"no annotation for 1 questions of .* \(question_id 8000\)"):
        _load("vqav2", _spoilt("vqav2", tmp_path / "a", less("annotations"), 1))
    with pytest.raises(BenchmarkFileError, match=r"does not ask 1 questions of .* \(question_id 7000\)"):
        _load("vqav2", _spoilt("vqav2", tmp_path / "b", less("questions"), 0))


def test_the_tables_of_kleister_must_have_as_many_lines(tmp_path: Path) -> None:
    documents, expected = tmp_path / "in.tsv", tmp_path / "expected.tsv"
    rows = [f"{n}.pdf\tkeys\ta\tb\tc\td\n" for n in range(3)]
    for n_documents, n_expected in ((3, 2), (2, 3), (3, 1)):
        documents.write_text("".join(rows[:n_documents]), encoding="utf-8")
        expected.write_text("charity_name=X\n" * n_expected, encoding="utf-8")
        with pytest.raises(BenchmarkFileError, match="not the same number of lines"):
            _load("klc", [documents, expected])


def test_a_document_that_says_nothing_still_gets_its_questions(tmp_path: Path) -> None:
    """An empty line of expected.tsv: "None" is the right reply to all eight keys."""
    (tmp_path / "in.tsv").write_text("7.pdf\tkeys\ta\tb\tc\td\n", encoding="utf-8")
    (tmp_path / "expected.tsv").write_text("\n", encoding="utf-8")
    items = _load("klc", [tmp_path / "in.tsv", tmp_path / "expected.tsv"])
    assert [one.references for one in items if isinstance(one, Item)] == [()] * 8


def test_a_list_of_ids_without_its_pictures_is_told(tmp_path: Path) -> None:
    ids = tmp_path / "ids.csv"
    ids.write_text("7\n99\n", encoding="utf-8")
    with pytest.raises(BenchmarkFileError, match=r"no questions for 1 pictures of .* \(99: \.png\.json\)"):
        _load("ai2d", [ids, FIXTURES / "ai2d"])


def test_targets_without_their_canonical_forms_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "test.tagged"
    rows = "nu-0\twho?\tcsv/1.csv\ta|b\ta\nnu-1\twho?\tcsv/1.csv\ta\ta\n"
    path.write_text(f"id\tutterance\tcontext\ttargetValue\ttargetCanon\n{rows}", encoding="utf-8")
    first, second = _load("wtq", [path])
    assert isinstance(first, Rejected) and first.reason == "canon_differs"
    assert isinstance(second, Item) and second.variants == (("a",),)


def test_captions_of_an_unknown_picture_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "captions_val2014.json"
    annotations = [{"id": 1, "image_id": 8, "caption": "A dog."}]
    path.write_text(json.dumps({"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": annotations}))
    with pytest.raises(BenchmarkFileError, match="captions of 1 pictures that it does not list: 8"):
        _load("coco-caption", [path])


# ---- pickles, names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "name"), [(0, "refs(unc).p"), (0, "refs.jsonl"), (2, "refs.jsonl"), (4, "refs.pkl")]
)
def test_a_pickle_is_refused_unopened(protocol: int, name: str, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / name).write_bytes(pickle.dumps([{"ref_id": 7, "trap": Trap()}], protocol=protocol))
    with pytest.raises(
        BenchmarkFileError, match=r"a pickle, which can run code .*JSON lines with file_name, answer, bbox"
    ):
        _load("refcoco", [tmp_path / name])
    assert not (tmp_path / "sprung").exists()


def test_pictures_of_coco_are_named_after_their_number_and_split() -> None:
    assert coco_picture(7) == "COCO_val2014_000000000007.jpg"
    assert coco_picture(7, "test-dev2015") == "COCO_test2015_000000000007.jpg"
    assert coco_picture("cup.png") == "cup.png"


def test_every_name_can_be_typed() -> None:
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z]+)*", name) for name in BENCHMARKS)
