"""Benchmark files and predictions in, scores out: every loader, every protocol, values derived by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from benchmark_cases import Case
from predictions import NAMED_CASES as CASES
from predictions import predictions

from cli.app import app, guarded
from cli.compare import run as compare
from cli.score import Options, run
from ouro.benchmarks.comparison import compare_runs
from ouro.benchmarks.items import BenchmarkFileError, Item
from ouro.benchmarks.judging import metric_of
from ouro.benchmarks.loaders.registry import BENCHMARKS
from ouro.benchmarks.paper import measured
from ouro.benchmarks.run_folder import read_run, write_score
from ouro.benchmarks.scored import judge, score
from ouro.benchmarks.scoring.captions import Tokenizer, cider
from tasks import mlflow_pages, tracking

KLEISTER = {"7/charity_name": "THE LARKSPUR TRUST", "7/charity_number": "1", "8/address__post_town": "York"}

# case, protocol, replies (the other questions: "None"), the reported figure, and the share of unreadable replies.
# Soft accuracy of n equal answers among ten: 0, 0.3, 0.6, 0.9, 1. ANLS: 1 - distance / longer text, 0 below a half.
BY_HAND: list[tuple[str, str, dict[str, str], float, float]] = [
    ("vqav2: v2_OpenEnded_mscoco_val2014_questions.json", "evalai",
     {"7000": "Yes.", "7001": "dark red", "8000": "two"}, (1.0 + 0.9 + 0.3) / 3, 0),
    ("vqav2: v2_OpenEnded_mscoco_val2014_questions.json", "vqav2",
     {"7000": "YES", "7001": "a red", "8000": ""}, (1.0 + 1.0 + 0.0) / 3, 1 / 3),
    ("vqav2: v2_OpenEnded_mscoco_val2014_questions.json", "vqaeval",
     {"7000": "yes", "7001": "dark red", "8000": "one"}, (1.0 + 0.9 + 1.0) / 3, 0),
    ("okvqa: mscoco_val2014_annotations.json", "evalai", {"75": "Tea", "125": "france"}, 0.3, 0),
    ("okvqa: mscoco_val2014_annotations.json", "vqaeval", {"75": "the coffee", "125": "india"}, 1.0, 0),
    ("vizwiz: val.json", "evalai", {"cup.png": "the cup", "sign.png": "unanswerable"}, 0.95, 0),
    ("gqa: testdev_balanced_questions.json", "llava", {"20100": "Yes.", "20101": "the table"}, 0.5, 0),
    ("vsr: test.jsonl", "yes-no", {"0": "yes", "1": "False", "2": "maybe"}, 2 / 3, 1 / 3),
    ("scienceqa: problems.json", "strict", {"7": "B. the cup", "8": "The answer is A"}, 0.5, 0.5),
    ("scienceqa: problems.json", "lenient", {"7": "B. the cup", "8": "The answer is A"}, 1.0, 0),
    ("iconqa: pid_splits.json", "iconqa", {"11": "5.", "12": "the third"}, 0.5, 0),
    ("docvqa: val_v1.0_withQT.json", "rrc", {"7": "12.5", "8": "invoice"}, (0.8 + 1.0) / 2, 0),
    ("infovqa: infographicsVQA_val_v1.0_withQT.json", "rrc", {"70": "5", "71": "the first"}, 0.5, 0),
    ("chartqa: test_human.json", "pix2struct",  # the mean of human, 1 of 2, and augmented, 1 of 1
     {"human-0": "3.1", "human-1": "no", "augmented-0": "37"}, 0.75, 0),
    ("deepform: document.jsonl", "due",  # 3 of 4 predicted pairs, 3 of 4 in the documents
     {"doc7/advertiser": "maple party", "doc7/gross_amount": "1500", "doc8/contract_num": "77",
      "doc8/advertiser": "OAK"}, 0.75, 0),
    ("klc: in.tsv.xz", "due", KLEISTER, 2 * 2 / (3 + 4), 0),
    ("klc: unpacked/expected.tsv", "due", KLEISTER, 2 * 2 / (3 + 4), 0),
    ("klc: due/document.jsonl", "due", {"7/charity_name": "The Larkspur Trust Ltd", "7/charity_number": "1"}, 0.5, 0),
    ("wtq: pristine-unseen-tables.tsv", "official", {"nu-0": "Grace | Ada", "nu-1": "12500", "nu-2": "x"}, 1 / 3, 0),
    ("wtq: pristine-unseen-tables.tagged", "official", {"nu-0": "Ada", "nu-1": "12500"}, 0.5, 0),
    ("wtq: due/document.jsonl", "official", {"200-7/nu-0": "grace|ada"}, 1.0, 0),
    ("wtq: due/document.jsonl", "official", {"200-7/nu-0": "grace"}, 0.0, 0),
    ("textvqa: TextVQA_0.5.1_val.json", "evalai", {"7": "The cafe", "8": "d"}, 0.5, 0),
    ("ai2d: questions", "letter", {"7.png-0": "(b)", "7.png-1": "D", "8.png-0": "A because"}, 2 / 3, 1 / 3),
    ("ai2d: questions", "lenient", {"7.png-0": "(b)", "7.png-1": "D", "8.png-0": "A because"}, 2 / 3, 1 / 3),
    ("stvqa: train_task_3.json", "contains", {"7": "it has nine lives", "8": "xyz"}, 0.5, 0),
    ("stvqa: train_task_3.json", "anls", {"7": "it has nine lives", "8": "xyz"}, (10 / 17) / 2, 0),
    ("estvqa: test.json", "contains", {"7": "Golden Cafe!", "8": "金色"}, 0.5, 0),
    ("estvqa: test.json", "anls", {"7": "Golden Cafe!", "8": "金色"}, (11 / 12 + 0.5) / 2, 0),
    ("estvqa: by_picture/train.json", "contains", {"sign.png-0": "golden cafe", "sign.png-1": "13"}, 0.5, 0),
    ("estvqa: by_picture/train.json", "anls", {"sign.png-0": "golden cafe", "sign.png-1": "13"}, 0.75, 0),
    # CIDEr-D: a reply that is its image's only reference agrees in n-grams of all four lengths, 10 * 1; another has
    # none of them, 0. With one image every n-gram stands in all images, whose logarithm is 0.
    ("coco-caption: dataset_coco.json", "plain", {"9": "A blue sign with white letters."}, 5.0, 0),
    ("coco-caption: dataset_coco.json", "ptb", {"9": "a Blue sign, with white letters"}, 5.0, 0),
    ("coco-caption: validation/captions_val2014.json", "plain", {"9": "a blue sign with white letters"}, 5.0, 0),
    ("coco-caption: validation/captions_val2014.json", "ptb", {"9": "", "7": ""}, 0.0, 1),
    ("flickr30k: dataset_flickr30k.json", "plain", {"0": "A cup stands on a brown table."}, 0.0, 0),
    ("flickr30k: dataset_flickr30k.json", "ptb", {"0": "A cup stands on a brown table."}, 0.0, 0),
    ("pope: coco_pope_random.json", "official",  # F1 of the three splits: 1, 0, 1
     {"random-1": "yes", "random-2": "No, none.", "popular-1": "yes", "adversarial-1": "yes"}, 2 / 3, 0),
    ("refcoco: refcoco_testA.jsonl", "iou-0.5",
     {"testA-7_1-0": "[312, 347, 573, 694]", "testA-7_1-1": "there",
      "testA-8_1-0": "<|box_start|>(104,139),(901,694)<|box_end|>"}, 2 / 3, 1 / 3),
    ("refcoco: sentences/refcoco_val.jsonl", "iou-0.5",
     {"val-0": "[312, 347, 573, 694]", "val-1": "[0, 0, 1, 0.5]"}, 0.0, 0.5),  # fractions, and bare numbers: none
    ("refcoco: sentences/refcoco_val.jsonl", "thousandths",
     {"val-0": "[312, 347, 573, 694]", "val-1": "[0, 0, 1, 0.5]"}, 0.5, 0.5),
    # the box (30, 25, 55, 50) of a picture of 96 x 72, which Qwen2.5-VL sees as 84 x 84; the other replies: "None"
    *((case, protocol, {first: box}, 1 / n, 1 - 1 / n)
      for case, first, n in (("refcoco: refcoco_testA.jsonl", "testA-7_1-0", 3),
                             ("refcoco: sentences/refcoco_val.jsonl", "val-0", 2))
      for protocol, box in (("thousandths", "[312, 347, 573, 694]"), ("fractions", "[0.312, 0.347, 0.573, 0.694]"),
                            ("square-fractions", "[0.312, 0.385, 0.573, 0.646]"),  # 12 rows of padding above
                            ("pixels", "[30, 25, 55, 50]"), ("percent", "[31, 35, 57, 69]"),
                            ("qwen2.5-vl", "[26, 29, 48, 58]"))),
    ("held-out: test_questions.json", "evalai",  # the mean of color, 1 of 2, and count, 1 of 1
     {"0": "Red.", "1": "red", "2": "two"}, 0.75, 0),
    ("reporting-bias: probes.jsonl", "letter", {"s1": "(B)", "n1": "C", "c1": "4 bars", "t1": "A"}, 0.75, 0.25),
    ("reporting-bias: probes.jsonl", "lenient", {"s1": "(B)", "n1": "C", "c1": "4 bars", "t1": "A"}, 1.0, 0),
]  # fmt: skip


def scored(
    case: Case, file: Path, capsys: pytest.CaptureFixture[str], protocol: str = "", out: Path | None = None,
    allow_missing: bool = False,
) -> dict[str, Any]:  # fmt: skip
    run(Options(case.name, case.paths, file, protocol, allow_missing, True, out, True, resamples=100))
    return json.loads(capsys.readouterr().out)


def reported(scores: Mapping[str, Any]) -> dict[str, float]:
    return scores["figures"][scores["reported"]]["macro" if scores["macro"] else "micro"]


@pytest.mark.parametrize(("name", "protocol", "replies", "expected", "unreadable"), BY_HAND)
def test_a_score_is_what_its_rules_say(
    name: str, protocol: str, replies: dict[str, str], expected: float, unreadable: float, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    case = CASES[name]
    replies_by_id = {item.item_id: replies.get(item.item_id, "None") for item in case.items}
    assert replies.keys() <= replies_by_id.keys()
    scores = scored(case, predictions(tmp_path / "p.jsonl", replies_by_id), capsys, protocol)
    assert reported(scores)["value"] == pytest.approx(expected, abs=1e-9)
    assert scores["unreadable"] == pytest.approx(unreadable)
    assert (scores["n"], scores["protocol"]) == (len(case.items), protocol)
    assert sum(scores["rejected"].values()) == len(case.rejected)
    backwards = predictions(tmp_path / "q.jsonl", dict(reversed(replies_by_id.items())))
    assert scored(case, backwards, capsys, protocol) == scores, "the order of the predictions decides nothing"


def test_every_case_and_protocol_with_a_metric_is_scored_here() -> None:
    done = {(name, protocol) for name, protocol, *_ in BY_HAND} | set(SOFT_CAPTIONS)
    names = {name: BENCHMARKS[case.name] for name, case in CASES.items()}
    assert done == {(n, p) for n, b in names.items() for p in b.protocols if b.metric != "contextual"}


SOFT_CAPTIONS = {
    (name, protocol): replies
    for name, replies in {
        "coco-caption: dataset_coco.json": ("a red cup on a table", "white letters"),
        "textcaps: TextCaps_0.1_val.json": ("A sign says: cafe", "an invoice over 12.50"),
    }.items()
    for protocol in ("ptb", "plain")
}


@pytest.mark.parametrize(("name", "protocol"), SOFT_CAPTIONS)
def test_captions_score_the_cider_of_the_whole_set(
    name: str, protocol: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    references = {item.item_id: item.references for item in case.items}
    replies = dict(zip(references, SOFT_CAPTIONS[name, protocol], strict=True))
    scores = scored(case, predictions(tmp_path / "p.jsonl", replies, "image_id"), capsys, protocol)
    expected = cider(replies, references, protocol).corpus
    assert 0 < expected == pytest.approx(reported(scores)["value"])
    perfect = {name: texts[0] for name, texts in references.items()}
    scores = scored(case, predictions(tmp_path / "p.jsonl", perfect, "image_id"), capsys, protocol)
    assert expected < cider(perfect, references, protocol).corpus == pytest.approx(reported(scores)["value"])


def perfect(item: Item) -> str:
    """A right reply. RefCOCO's is a box in thousandths of the picture; of no value, as DUE has it, "None"."""
    if item.box and item.size:
        x, y = item.size
        return str([round(1000 * v / side) for v, side in zip(item.box, (x, y, x, y), strict=True)])
    return " | ".join(item.references if item.key or item.image.startswith("csv") else item.references[:1]) or "None"


# What keeps it from 1: a split of POPE in which there is no yes to be found has F1 0.
IMPERFECT = {"pope: coco_pope_random.json": 2 / 3}
NO_SCORE = ("coco-caption", "flickr30k", "textcaps", "contextual")  # CIDEr is not bounded by 1


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.name not in NO_SCORE])
def test_perfect_predictions_score_one(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, best = CASES[name], IMPERFECT.get(name, 1.0)
    predictions_by_id = {item.item_id: perfect(item) for item in case.items}
    if name == "wtq: due/document.jsonl":
        predictions_by_id = {"200-7/nu-0": "Ada | Grace"}
    protocol = "thousandths" if case.name == "refcoco" else ""
    scores = reported(scored(case, predictions(tmp_path / "p.jsonl", predictions_by_id), capsys, protocol))
    assert scores["value"] == pytest.approx(best) and scores["n"] == len(case.items)
    assert name in IMPERFECT or (scores["low"], scores["high"]) == (1.0, 1.0)


@pytest.mark.parametrize("case", [c for c in {c.name: c for c in CASES.values()}.values() if c.name != "contextual"])
def test_a_reply_that_never_ends_is_scored_like_any_other(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_id = {item.item_id: "A. [1, 2|(" * 10_000 for item in case.items}
    for protocol in BENCHMARKS[case.name].protocols:
        assert 0 <= reported(scored(case, predictions(tmp_path / "p.jsonl", by_id), capsys, protocol))["value"] < 1


@pytest.mark.filterwarnings("error")
def test_the_most_frequent_answer_stands_beside_the_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """VSR: of kind `on` yes and no are equally frequent, no comes first; of kind `left of` it is no.

    It was drawn with one resample, for which numpy warned of each kind that was not in it.
    """
    predictions_by_id = {"0": "yes", "1": "no", "2": "no"}
    scores = scored(CASES["vsr: test.jsonl"], predictions(tmp_path / "p.jsonl", predictions_by_id), capsys)
    assert scores["controls"] == {"constant": pytest.approx(2 / 3), "shuffled": None}


# ---- predictions that cannot be scored ---------------------------------------------------------------

VQA = CASES["vqav2: v2_OpenEnded_mscoco_val2014_questions.json"]
RIGHT = {"7000": "no", "7001": "red", "8000": "1"}


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (line(question_id=7000, prediction="no"), r"2 questions \(7001, 8000\) of 3 have no prediction.*--allow-m"),
        (line(question_id=7000, prediction=None), r"p\.jsonl: 3 questions \(7000, 7001, 8000\) of 3 have no pre"),
        (b'{"question_id": 7000, "prediction": NaN}', r"3 questions \(7000, 7001, 8000\) of 3 have no prediction"),
        (line(question_id=7000, prediction="a") * 2, r"p\.jsonl: 1 id \(7000\) predicted more than once"),
        (b'{"question_id": 7000, "pred', r"p\.jsonl line 1: not valid JSON"),
        (b'[{"question_id": 7000, "prediction": "no"}]', r"line 1: got a JSON list.*jq -c"),
        (b'[\n {"question_id": 7000, "prediction": "no"}\n]', r"line 1: got a JSON list.*jq -c"),
        (b"[" * 100_000, r"line 1: got a JSON list.*jq -c"),
        (b"\n" + b"[" * 100_000, r"p\.jsonl line 2: not valid JSON \(maximum recursion depth"),
        (line(question_id=7000, prediction="no") + b"{", r"p\.jsonl line 2: not valid JSON"),
        (b'"no"\n', r"line 1: got str, expected an object"),
        (line(question="x", prediction="y"), r"line 1: got the keys question, prediction; expected an id"),
        (line(question_id=7000), r"line 1: got the keys question_id; expected an id .* and a reply"),
        (line(question_id=True, prediction="y"), r"question_id is True, expected text or a whole number"),
        (line(question_id=7000.0, prediction="y"), r"question_id is 7000\.0, expected text or a whole number"),
        (line(question_id=None, prediction="y"), r"question_id is None, expected text or a whole number"),
        (line(question_id=7000, prediction=["no"]), r"prediction is a list, expected text"),
        ('{"question_id": 7000, "prediction": "café"}\n'.encode("latin-1"), r"line 1: not UTF-8.*save it as UTF-8"),
        ('{"question_id": 7000, "prediction": "no"}\n'.encode("utf-16"), r"line 1: not UTF-8.*save it as UTF-8"),
        (b"", r"p\.jsonl: got no prediction, expected one JSON object a line"),
        (b"\n\n", r"p\.jsonl: got no prediction"),
    ],
)  # fmt: skip
def test_predictions_that_cannot_be_scored_are_one_clear_error(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.jsonl").write_bytes(content)
    with pytest.raises(BenchmarkFileError, match=message):
        scored(VQA, tmp_path / "p.jsonl", capsys)


def test_no_more_than_ten_ids_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.jsonl").write_bytes(b"".join(line(question_id=i % 12, prediction="x") for i in range(24)))
    message = r"p\.jsonl: 12 ids \(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.\) predicted more than once; keep one of each"
    with pytest.raises(BenchmarkFileError, match=message):
        scored(VQA, tmp_path / "p.jsonl", capsys)


def test_predictions_that_are_no_file_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BenchmarkFileError, match=r"got a folder, expected a JSON Lines file"):
        scored(VQA, tmp_path, capsys)
    with pytest.raises(BenchmarkFileError, match=r"none\.jsonl: got nothing, expected a JSON Lines file"):
        scored(VQA, tmp_path / "none.jsonl", capsys)


def test_another_benchmarks_predictions_are_known_by_their_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the questions without a prediction were named, and --allow-missing recommended."""
    file = predictions(tmp_path / "p.jsonl", {"20100": "yes", "20101": "table"})
    message = (
        r"3 questions \(.*\) of 3 have no prediction.*; it has 2 ids \(20100, 20101\) that vqav2 has no question for"
    )
    with pytest.raises(BenchmarkFileError, match=message):
        scored(VQA, file, capsys)


def test_a_reply_cut_inside_an_emoji_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a surrogate pair, which JSON can spell, ended the run with a UnicodeEncodeError."""
    rows = b'{"question_id": 7000, "prediction": "no \\ud83d"}\n{"question_id": 7001, "prediction": "a\\u0000b"}\n'
    (tmp_path / "p.jsonl").write_bytes(rows + line(question_id=8000, prediction="one"))
    assert reported(scored(VQA, tmp_path / "p.jsonl", capsys))["value"] == pytest.approx(1 / 3)


def test_unknown_ids_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = predictions(tmp_path / "p.jsonl", {**RIGHT, "1": "x", "2": "y"})
    with pytest.raises(BenchmarkFileError, match=r"2 ids \(1, 2\) that vqav2 has no question for \(it has 3\)"):
        scored(VQA, file, capsys)


def test_predictions_for_questions_that_cannot_be_scored_are_known_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Problem 6 stands in the file, without a picture: whoever answers it was told that there is no such question."""
    file = predictions(tmp_path / "p.jsonl", {"6": "A", "7": "B", "8": "A"})
    with pytest.raises(BenchmarkFileError, match=r"1 id \(6\) .* \(it has 2; not scored: no_image 1\)\. Fix: take"):
        scored(CASES["scienceqa: problems.json"], file, capsys)


def test_an_id_of_null_is_an_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was passed over: unknown and repeated ones went unseen, and an answered question was said to be missing."""
    rows = b"".join(line(question_id=name, prediction=reply) for name, reply in RIGHT.items())
    file = tmp_path / "p.jsonl"
    file.write_bytes(line(question_id=7000, prediction=None) + rows)
    with pytest.raises(BenchmarkFileError, match=r"1 id \(7000\) predicted more than once"):
        scored(VQA, file, capsys)
    file.write_bytes(line(question_id=1, prediction=None) + rows)
    with pytest.raises(BenchmarkFileError, match=r"1 id \(1\) that vqav2 has no question for \(it has 3\)"):
        scored(VQA, file, capsys)


def test_missing_ones_count_as_wrong_when_that_is_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = predictions(tmp_path / "p.jsonl", {"7000": "no", "7001": None})
    scores = scored(VQA, file, capsys, allow_missing=True)
    assert reported(scores)["value"] == pytest.approx(1 / 3)
    assert (scores["missing"], scores["null_predictions"]) == (2, 1)


@pytest.mark.parametrize(
    ("name", "answers", "expected"),
    [
        ("pope: coco_pope_random.json", {"random-2": "no"}, {"F1": 0, "accuracy": 1 / 4, "recall": 0}),
        # as in the evaluator of DUE, where what is not predicted takes nothing from precision
        ("deepform: document.jsonl", {"doc7/advertiser": "OAK"}, {"precision": 0, "recall": 0}),
        ("deepform: document.jsonl", {"doc7/advertiser": "maple party"}, {"precision": 1, "recall": 1 / 4, "F1": 0.4}),
        ("klc: in.tsv.xz", {"7/charity_number": "1"}, {"precision": 0, "recall": 0, "F1": 0}),
    ],
)  # fmt: skip
def test_a_missing_reply_is_never_right(
    name: str, answers: dict[str, str], expected: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """POPE's evaluator takes an empty reply for yes, so that a missing one was right wherever yes is."""
    scores = scored(CASES[name], predictions(tmp_path / "p.jsonl", answers), capsys, allow_missing=True)
    figures = {figure: estimate["micro"]["value"] for figure, estimate in scores["figures"].items()}
    assert {figure: figures[figure] for figure in expected} == pytest.approx(expected)
    assert scores["unreadable"] == pytest.approx(scores["missing"] / scores["n"])


def test_a_missing_reply_is_wrong_where_an_answer_is_blank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An article alone has the normal form of an empty reply."""
    answers = [{"answer": "the"}] * 10
    (tmp_path / "val.json").write_text(json.dumps([
        {"image": name, "question": "What?", "answers": answers, "answer_type": "other"} for name in ("a.png", "b.png")
    ]))  # fmt: skip
    case = Case("vizwiz", (str(tmp_path / "val.json"),), (), "")
    scores = scored(case, predictions(tmp_path / "p.jsonl", {"a.png": ""}), capsys, allow_missing=True)
    assert reported(scores)["value"] == 0.5


def test_what_evaluators_write_is_read_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte order mark, numbers as ids and replies, `answer` for `prediction`, and a reply of a megabyte."""
    rows = [line(question_id=7000, answer="no"), line(question_id=7001, answer="red " * 250_000)]
    (tmp_path / "p.jsonl").write_bytes(b"\xef\xbb\xbf" + b"".join(rows) + line(question_id="8000", answer=1))
    scores = scored(VQA, tmp_path / "p.jsonl", capsys)
    assert reported(scores)["value"] == pytest.approx(2 / 3)


def test_vizwiz_predictions_are_read_as_they_are_submitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.jsonl").write_bytes(line(image="cup.png", answer="mug") + line(image="sign.png", answer="x"))
    assert scored(CASES["vizwiz: val.json"], tmp_path / "p.jsonl", capsys)["missing"] == 0


def test_one_split_alone_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The F1 of POPE's random questions was printed as that of all three splits."""
    file = predictions(tmp_path / "p.jsonl", {"random-1": "yes", "random-2": "no"})
    random = [path for path in CASES["pope: coco_pope_random.json"].paths if "random" in path.name]
    run(Options("pope", random, file, "", False, False, None, False, resamples=10))
    assert "F1, random: 100.0 [" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = predictions(tmp_path / "p.jsonl", RIGHT)
    folder = str(VQA.paths[0].parent)

    def ouro(*words: str) -> tuple[int, str]:
        code = guarded(lambda: app(["score", *words], standalone_mode=False))
        return code, capfd.readouterr().err

    assert ouro("vqav3", "--annotations", folder, "--predictions", str(file))[1].count("did you mean 'vqav2'") == 1
    code, err = ouro("vqav2", "--annotations", folder, "--predictions", str(file), "--protocol", "rrc")
    assert code == 2 and "got protocol 'rrc', expected one of evalai, vqav2, vqaeval" in err
    code, err = ouro("vqav2", "--annotations", str(tmp_path), "--predictions", str(file))
    assert code == 2 and "not found; VQAv2 needs" in err
    code, err = ouro("contextual", "--annotations", folder, "--predictions", str(file))
    assert code == 2 and "has no metric of its own" in err
    code, err = ouro("vqav2", "--annotations", folder, "--predictions", str(file), "--out", str(tmp_path / "run"))
    assert code == 0 and not err and read_run(tmp_path / "run").keys() == {"vqav2"}
    for out in (file, file / "run"):  # it was a traceback, after all was scored
        code, err = ouro("vqav2", "--annotations", folder, "--predictions", str(file), "--out", str(out))
        assert code == 2 and err.strip() == f"error: --out {out}: {file} is a file, expected a folder or a new name"


# ---- comparisons -------------------------------------------------------------------------------------


def runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], *replies: Mapping[str, str]) -> list[Path]:
    folders = [tmp_path / f"run {i}" for i in range(len(replies))]
    for folder, answers in zip(folders, replies, strict=True):
        scored(VQA, predictions(tmp_path / "p.jsonl", answers), capsys, out=folder)
    return folders


def test_two_runs_are_compared_question_by_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (read_run(f) for f in runs(tmp_path, capsys, {**RIGHT, "8000": "2"}, {**RIGHT, "7001": "dark red"}))
    (comparison,) = compare_runs(first, second, seed=0, resamples=200)
    total = comparison.reported
    assert total.base_accuracy.value == pytest.approx((1 + 1 + 0.3) / 3)
    assert total.boot_accuracy.value == pytest.approx((1 + 0.9 + 1) / 3)
    assert total.accuracy_gain.value == pytest.approx((0.7 - 0.1) / 3)
    gains = {row.question_type: row.accuracy_gain for row in comparison.rows}
    assert {kind: round(gain.value, 9) for kind, gain in gains.items()} == {"number": 0.7, "other": -0.1, "yes/no": 0}
    assert gains["yes/no"].p == 1.0
    (same,) = compare_runs(first, first, seed=0, resamples=200)
    gain = same.reported.accuracy_gain
    assert (gain.value, gain.low, gain.high, gain.p) == (0, 0, 0, 1)


def test_runs_that_cannot_be_paired_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = runs(tmp_path, capsys, RIGHT, RIGHT)
    scored(VQA, predictions(tmp_path / "p.jsonl", RIGHT), capsys, "vqaeval", out=second)
    with pytest.raises(BenchmarkFileError, match=r"protocol is 'evalai' in run 0 and 'vqaeval' in run 1; score both"):
        compare_runs(read_run(first), read_run(second), seed=0, resamples=100)
    gqa = CASES["gqa: testdev_balanced_questions.json"]
    scored(gqa, predictions(tmp_path / "p.jsonl", {"20100": "yes", "20101": "no"}), capsys, out=tmp_path / "gqa")
    with pytest.raises(BenchmarkFileError, match="share no benchmark: got vqav2 and gqa"):
        compare_runs(read_run(first), read_run(tmp_path / "gqa"), seed=0, resamples=100)
    with pytest.raises(BenchmarkFileError, match=r"got no scores\.json in it or in its folders"):
        read_run(tmp_path / "nothing")
    with pytest.raises(BenchmarkFileError, match=r"got 1 run, expected two or more"):
        compare([first], "table", True, False)


def test_runs_on_other_questions_are_not_paired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tasks.asking import _limited  # as `ouro benchmark --limit 2` reads the questions

    first, _ = runs(tmp_path, capsys, RIGHT, RIGHT)
    bench = BENCHMARKS["vqav2"]
    metric = metric_of(bench)
    judged = judge(_limited(lambda: bench.load(VQA.paths), 2), metric, lambda item: RIGHT[item.item_id])
    write_score(tmp_path / "two", score(bench, "", metric, *judged, seed=0, resamples=100), judged[0])
    with pytest.raises(BenchmarkFileError, match=r"VQAv2: 1 questions stand in one run only \(8000\).*same --limit"):
        compare([first, tmp_path / "two"], "json", True, False)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("scores.json", b"{", r"scores\.json: not valid JSON .*run the benchmark again"),
        ("scores.json", b"[]", r"scores\.json: got list, expected an object; run the benchmark again"),
        ("scores.json", b'{"title": "VQAv2"}', r"scores\.json: got no benchmark, split, .*; run the benchmark again"),
        ("samples.parquet", b"PAR1", r"samples\.parquet: cannot be read .*run the benchmark again"),
    ],
)
def test_a_damaged_run_is_one_clear_error(
    file: str, content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = runs(tmp_path, capsys, RIGHT, RIGHT)
    (second / file).write_bytes(content)
    with pytest.raises(BenchmarkFileError, match=message):
        compare([first, second], "json", True, False)


def test_comparisons_are_printed_as_json_and_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Question 7001 alone differs: 0.9 for 1, so that the difference is -0.1 / 3 and that of its kind -0.1."""
    folders = runs(tmp_path, capsys, RIGHT, {**RIGHT, "7001": "dark red"}, RIGHT)
    compare(folders, "json", True, False, resamples=100)
    one, two = json.loads(capsys.readouterr().out)
    assert (one["first"], one["second"], two["second"]) == ("run 0", "run 1", "run 2")
    (comparison,) = one["benchmarks"]
    assert (comparison["benchmark"], comparison["figure"], comparison["first"]) == ("vqav2", "accuracy", 1.0)
    assert comparison["difference"]["micro"]["value"] == pytest.approx(-0.1 / 3)
    assert comparison["difference"]["kinds"]["other"] == {
        "value": pytest.approx(-0.1), "low": pytest.approx(-0.1), "high": pytest.approx(-0.1),
        "p": pytest.approx(comparison["difference"]["kinds"]["other"]["p"]), "n": 1,
    }  # fmt: skip
    assert two["benchmarks"][0]["difference"]["micro"] == {"value": 0, "low": 0, "high": 0, "p": 1, "n": 3}
    compare(folders, "table", False, False, resamples=100)
    text = capsys.readouterr().out
    assert text.count("VQAv2") == 2 and "-3.3" in text and "yes/no" not in text
    compare(folders[:2], "table", True, False, resamples=100)
    assert "yes/no" in capsys.readouterr().out


def test_a_narrow_screen_cuts_no_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On 40 columns 90.0 was printed as 90 with an ellipsis, on 80 an interval in two lines."""
    monkeypatch.setenv("COLUMNS", "40")
    compare(runs(tmp_path, capsys, RIGHT, {**RIGHT, "7000": "yes"}), "table", True, False, resamples=10)
    (row,) = (row for row in capsys.readouterr().out.splitlines() if "VQAv2" in row and "accuracy" in row)
    assert "100.0" in row and "…" not in row and row.rstrip("│ ").count("[") == row.count("]") == 1


def test_a_markdown_table_shows_names_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = runs(tmp_path, capsys, RIGHT, RIGHT)
    (second / "run.json").write_text(json.dumps({"label": "a|b <script>*x*"}))
    compare([first, second], "markdown", True, False)
    text = capsys.readouterr().out
    assert r"second: a\|b \<script\>\*x\*;" in text.replace("\\_", "_")
    rows = text.strip().splitlines()
    assert rows[2].count("|") == rows[4].replace("\\|", "").count("|") == 8
    assert "| VQAv2 | accuracy | 3 | 100.0 | 100.0 | +0.0 \\[+0.0, +0.0\\] | 1.000 |" in text


def test_runs_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ouro compare base/vqav2 boot/vqav2` called both of them vqav2, and a model with and without regions alike."""
    one, two = tmp_path / "base/vqav2", tmp_path / "boot/vqav2"
    for folder in (one, two):
        scored(VQA, predictions(tmp_path / "p.jsonl", RIGHT), capsys, out=folder)
    compare([one, two], "json", True, False, resamples=10)
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["first"], report["second"]) == (f"vqav2 ({one})", f"vqav2 ({two})")
    for k, folder in enumerate((one, two)):
        (folder / "run.json").write_text(json.dumps({"label": "nano", "k": k}))
    compare([one, two], "json", True, False, resamples=10)
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["first"], report["second"]) == ("nano, k = 0", "nano, k = 1")


def test_a_folder_of_two_scores_of_one_benchmark_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last one by alphabet stood for the run."""
    for name, answers in (("base", RIGHT), ("boot", {**RIGHT, "7000": "yes"})):
        scored(VQA, predictions(tmp_path / "p.jsonl", answers), capsys, out=tmp_path / "runs" / name)
    for read in (lambda: read_run(tmp_path / "runs"), lambda: measured([tmp_path / "runs"])):
        with pytest.raises(BenchmarkFileError, match=r"runs: base and boot both hold scores of vqav2, expected one r"):
            read()
    assert len(measured([tmp_path / "runs/base", tmp_path / "runs/boot"])) == 2


def test_a_tracked_comparison_is_in_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run for each pair, with what JSON says of the reported figure, and the names of both as tags."""
    folders = runs(tmp_path, capsys, RIGHT, {**RIGHT, "7001": "dark red"}, {**RIGHT, "8000": "2"})
    monkeypatch.setenv(mlflow_pages.URI, f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    compare(folders, "json", True, True, resamples=100)
    comparisons = json.loads(capsys.readouterr().out)
    client = tracking.client()
    (experiment,) = (e for e in client.search_experiments() if e.name == tracking.EXPERIMENT)
    logged = {run.data.tags["second"]: run for run in client.search_runs([experiment.experiment_id])}
    assert len(comparisons) == len(logged) == 2
    for pair in comparisons:
        run, difference = logged[pair["second"]], pair["benchmarks"][0]["difference"]["micro"]
        assert run.data.metrics == {f"vqav2/{key}": pytest.approx(value) for key, value in difference.items()}
        assert (run.data.tags["first"], run.info.run_name, run.info.status) == ("run 0", "compare", "FINISHED")
    assert logged["run 1"].data.metrics["vqav2/value"] == pytest.approx(-0.1 / 3)
    assert logged["run 2"].data.metrics["vqav2/value"] == pytest.approx(-0.7 / 3)
