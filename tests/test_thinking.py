"""What a model thinks aloud is not its answer, for any benchmark and protocol."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from predictions import NAMED_CASES

from cli.score import Options, run
from ouro.benchmarks.items import Item
from ouro.benchmarks.judging import metric_of
from ouro.benchmarks.loaders.registry import BENCHMARKS
from ouro.benchmarks.scored import judge
from ouro.benchmarks.thinking import spoken

THOUGHT = "No, it may not be 7. (A) is wrong: [1, 2, 3, 4] | none"
FORMS = {
    "think": "<think>{}</think>\n\n{}", "prompted": "{}</think>{}", "thinking": "<thinking>\n{}\n</thinking>\n{}",
    "capitals": "<THINK>{}</THINK> {}", "seed": "<seed:think>{}</seed:think>{}",
    "kimi": "\u25c1think\u25b7{}\u25c1/think\u25b7{}", "magistral": "[THINK]{}[/THINK]{}",
    "thought": "<|begin_of_thought|>{}<|end_of_thought|>\n<|begin_of_solution|>{}<|end_of_solution|>",
    "command": "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
    "medgemma": "<unused94>thought\n{}<unused95>{}", "r1": "<think>{}</think><answer> {} </answer>",
    "glm": "<think>{}</think><answer><|begin_of_box|>{}<|end_of_box|></answer>",
    "gpt-oss": "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "gpt-oss, marks dropped": "analysis{}assistantfinal{}", "twice": "<think>a</think>b<think>{}</think>{}",
    "ended": "<think>{}</think>{}<|im_end|>",
}  # fmt: skip


def judged(case: Any, protocol: str, replies: dict[str, str]) -> Any:
    bench = BENCHMARKS[case.name]
    metric = metric_of(bench, protocol)
    return judge(bench.load(case.paths), metric, lambda item: replies.get(item.item_id), allow_missing=True)


def parts(samples: Any) -> list[list[float]]:
    return [list(column) for column in samples.parts]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reply", ["yes", "B. text", "a | b", "[100, 200, 500, 800]", "None"])
def test_the_answer_is_what_follows_the_thinking(form: str, reply: str) -> None:
    found = spoken(FORMS[form].format(THOUGHT, reply))
    assert (found.answer, found.thought, found.cut) == (reply, True, False)


@pytest.mark.parametrize("name", ["pope", "scienceqa", "docvqa", "vqav2", "gqa", "vsr", "klc", "wtq", "ai2d", "iconqa",
                                  "chartqa", "stvqa", "flickr30k", "coco-caption"])  # fmt: skip
def test_thinking_changes_no_score(name: str) -> None:
    """The same figures for replies with thinking and without, under every protocol."""
    case = next(one for one in NAMED_CASES.values() if one.name == name)
    items = [one for one in BENCHMARKS[name].load(case.paths) if isinstance(one, Item)]
    plain = {item.item_id: (item.references or ("None",))[0] for item in items}
    aloud = {key: FORMS["think"].format(THOUGHT, reply) for key, reply in plain.items()}
    for protocol in BENCHMARKS[name].protocols:
        if protocol == "ptb":
            continue  # needs Java
        (first, _), (second, account) = judged(case, protocol, plain), judged(case, protocol, aloud)
        assert parts(first) == parts(second) and list(first.readable) == list(second.readable)
        assert (account.thought, account.cut) == (len(items), 0)


@pytest.mark.parametrize(
    "reply",
    ["<think>It is yes, since", "\u25c1think\u25b7yes", "[THINK] yes", "<|channel|>analysis<|message|>yes",
     "<|channel|>analysis<|message|>yes<|end|><|start|>assistant<|channel|>", "<think>a</think><think>yes"],
)  # fmt: skip
def test_thinking_without_an_end_is_no_answer(reply: str) -> None:
    assert spoken(reply) == ("", True, True) and spoken(reply).cut


def test_a_reply_that_was_cut_is_wrong_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """POPE's evaluator takes an empty reply for yes; one that was cut is neither."""
    case = next(one for one in NAMED_CASES.values() if one.name == "pope")
    items = [one for one in BENCHMARKS["pope"].load(case.paths) if isinstance(one, Item)]
    cut = next(item for item in items if item.references == ("yes",))
    lines = [{"question_id": i.item_id, "prediction": i.references[0]} for i in items if i is not cut]
    lines.append({"question_id": cut.item_id, "prediction": "<think>There is one, so yes"})
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(Options("pope", case.paths, tmp_path / "p.jsonl", "", False, False, None, False))
    said = capsys.readouterr()
    assert "replies with thinking: 1, cut before an answer (wrong): 1; ask with a larger --max-new-tokens" in (
        said.out + said.err
    )
    samples, account = judged(case, "", {line["question_id"]: line["prediction"] for line in lines})
    at = samples.ids.index(cut.item_id)
    assert (samples.figure("accuracy")[0][at], samples.readable[at], account.cut) == (0.0, 0, 1)
    assert account.missing == 0


@pytest.mark.parametrize("reply", ["yes <think>since it is red</think>", "yes <think>since it"])
def test_an_answer_before_the_thinking_counts(reply: str) -> None:
    assert (spoken(reply).answer, spoken(reply).cut) == ("yes", False)


@pytest.mark.parametrize("reply", [" yes ", "B\n", "<b>yes</b>", "I think <so>", "analysis: assistantfinal", ""])
def test_a_reply_without_thinking_is_judged_to_the_last_blank(reply: str) -> None:
    assert spoken(reply) == (reply, False, False)


def test_a_megabyte_of_marks_takes_seconds() -> None:
    start = time.perf_counter()
    for text in ("<think>", "</think>", "<|channel|>", "<answer>", "<|im_end|>", " ", "analysis", "<"):
        spoken(text * 150_000)
    spoken("<think>x</think>" + " " * 300_000 + "x")
    assert time.perf_counter() - start < 20
