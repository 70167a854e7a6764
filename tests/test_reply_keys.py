"""Under which key a reply stands: the ground truth under `answer` is never scored as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.app import app, guarded

TRUTH = {"7": "12.50", "8": "Invoice"}
FIXTURES = Path(__file__).resolve().parent / "fixtures/benchmarks"


def write(path: Path, lines: list[str] | list[dict[str, Any]]) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    return path


def score(file: Path, capsys: pytest.CaptureFixture[str], *words: str, name: str = "docvqa") -> tuple[int, Any, str]:
    """The exit code, what --json prints, and the error."""
    command = ["score", name, "--annotations", str(FIXTURES / name), "--predictions", str(file), "--json", *words]
    code = guarded(lambda: app(command, standalone_mode=False))
    out, error = capsys.readouterr()
    return code, json.loads(out) if code == 0 else None, " ".join(error.split())


def value(result: Any) -> float:
    return result["figures"][result["reported"]]["micro"]["value"]


@pytest.mark.parametrize(
    "key",
    ["response", "pred", "text", "output", "model_answer", "modelAnswer", "predicted_answer", "generated_text",
     "raw_output", "Response", "completion", "hypothesis", "predicted_label", "qwen2_vl", "my_model", "\u56de\u7b54"],
)  # fmt: skip
def test_two_keys_that_could_be_the_reply_are_an_error_that_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """Every reply is wrong; the truth stands under answer."""
    lines = [{"question_id": int(name), "answer": truth, key: "xyzzy"} for name, truth in TRUTH.items()]
    file = write(tmp_path / "p.jsonl", lines)
    code, _, error = score(file, capsys)
    assert code == 2 and f"answer, {key} could each be the reply" in error
    assert f"--reply-key {key if key != 'text' else 'answer'}" in error
    assert [value(score(file, capsys, "--reply-key", name)[1]) for name in (key, "answer")] == [0.0, 1.0]


@pytest.mark.parametrize("key", ["response", "pred", "text", "output", "model_answer", "prediction", "answer"])
def test_a_single_key_is_the_reply_whatever_stands_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    beside = {"prompt": "?", "answer_id": "a", "model_id": "m", "metadata": {}, "gt_answer": "no", "answer_type": "x",
              "target": "no", "question": "What?", "reasoning_content": "hm", "answers": ["no"]}  # fmt: skip
    lines = [{"question_id": name, **beside, key: truth} for name, truth in TRUTH.items()]
    assert value(score(write(tmp_path / "p.jsonl", lines), capsys)[1]) == 1.0


def test_prediction_is_the_reply_beside_a_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"question_id": n, "answer": truth, "text": "?", "prediction": "xyzzy"} for n, truth in TRUTH.items()]
    assert value(score(write(tmp_path / "p.jsonl", lines), capsys)[1]) == 0.0
    lines = [{**line, "response": "xyzzy"} for line in lines]
    assert score(write(tmp_path / "p.jsonl", lines), capsys)[0] == 2


def test_all_lines_have_their_reply_under_one_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line whose response was dropped would have its truth scored."""
    lines = [{"question_id": 7, "response": "xyzzy"}, {"question_id": 8, "answer": "Invoice"}]
    code, _, error = score(write(tmp_path / "p.jsonl", lines), capsys)
    assert code == 2 and "line 2: its reply stands under answer, that of line 1 under response" in error
    code, _, error = score(tmp_path / "p.jsonl", capsys, "--reply-key", "response")
    assert code == 2 and "line 2: got the keys question_id, answer; expected an id" in error


@pytest.mark.parametrize(
    ("written", "text"),
    [("100", "100"), ("100.0", "100"), ("1e2", "100"), ("12.50", "12.50"), ("0.1", "0.1"), ("-3.0", "-3"),
     ("1e-5", "0.00001"), ("1e400", "1e400"), ("123456789012345678", "123456789012345678"), ("-0.0", "0")],
)  # fmt: skip
def test_a_number_is_read_as_people_write_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str, text: str
) -> None:
    """ANLS of a reply that is its reference is 1, and below 1 in any other spelling."""
    record = {"questionId": 7, "question": "?", "image": "a.png", "docId": 1, "answers": [text], "question_types": []}
    (tmp_path / "val_v1.0_withQT.json").write_text(json.dumps({"data": [record]}))
    write(tmp_path / "p.jsonl", [f'{{"question_id": 7, "prediction": {written}}}'])
    words = ["score", "docvqa", "--annotations", str(tmp_path / "val_v1.0_withQT.json")]
    words += ["--predictions", str(tmp_path / "p.jsonl"), "--json"]
    assert guarded(lambda: app(words, standalone_mode=False)) == 0
    assert value(json.loads(capsys.readouterr().out)) == 1.0


@pytest.mark.parametrize("number", [35.5, 3.0])
def test_a_truth_that_is_a_number_is_read_so_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: float
) -> None:
    """IconQA's blanks are compared as texts: 3.0 in the file, 3 in the reply."""
    problems = {"7": {"question": "How many?", "ques_type": "fill_in_blank", "answer": number, "choices": None}}
    (tmp_path / "problems.json").write_text(json.dumps(problems))
    (tmp_path / "pid_splits.json").write_text(json.dumps({"fill_in_blank_test": ["7"]}))
    write(tmp_path / "p.jsonl", [{"question_id": 7, "prediction": "3" if number == 3 else "35.5"}])
    words = ["score", "iconqa", "--annotations", str(tmp_path), "--predictions", str(tmp_path / "p.jsonl"), "--json"]
    assert guarded(lambda: app(words, standalone_mode=False)) == 0
    assert value(json.loads(capsys.readouterr().out)) == 1.0


@pytest.mark.parametrize(
    "reply",
    [[{"type": "text", "text": "invoice"}],
     [{"type": "reasoning", "text": "It is a bill."}, {"type": "output_text", "text": "invoice"}],
     [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "inv"}, {"type": "text", "text": "oice"}],
     {"role": "assistant", "content": "invoice", "reasoning_content": "It is a bill."},
     {"content": [{"type": "text", "text": "invoice"}]}],
)  # fmt: skip
def test_content_may_be_a_list_of_parts_and_reasoning_has_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: Any
) -> None:
    lines = [{"question_id": 7, "prediction": "12.50"}, {"question_id": 8, "prediction": reply}]
    assert value(score(write(tmp_path / "p.jsonl", lines), capsys)[1]) == 1.0
