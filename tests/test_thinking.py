"""What a model thinks aloud is not its answer, for any benchmark and protocol."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reply", ["yes", "B. text", "a | b", "[100, 200, 500, 800]", "None"])
def test_the_answer_is_what_follows_the_thinking(form: str, reply: str) -> None:
    found = spoken(FORMS[form].format(THOUGHT, reply))
    assert (found.answer, found.thought, found.cut) == (reply, True, False)


@pytest.mark.parametrize(
    "reply",
    ["<think>It is yes, since", "\u25c1think\u25b7yes", "[THINK] yes", "<|channel|>analysis<|message|>yes",
     "<|channel|>analysis<|message|>yes<|end|><|start|>assistant<|channel|>", "<think>a</think><think>yes"],
)  # fmt: skip
def test_thinking_without_an_end_is_no_answer(reply: str) -> None:
    assert spoken(reply) == ("", True, True) and spoken(reply).cut


@pytest.mark.parametrize("reply", ["yes <think>since it is red</think>", "yes <think>since it"])
def test_an_answer_before_the_thinking_counts(reply: str) -> None:
    assert (spoken(reply).answer, spoken(reply).cut) == ("yes", False)


@pytest.mark.parametrize("reply", [" yes ", "B\n", "<b>yes</b>", "I think <so>", "analysis: assistantfinal", ""])
def test_a_reply_without_thinking_is_judged_to_the_last_blank(reply: str) -> None:
    assert spoken(reply) == (reply, False, False)


def test_a_megabyte_of_marks_is_read() -> None:
    for text in ("<think>", "</think>", "<|channel|>", "<answer>", "<|im_end|>", " ", "analysis", "<"):
        spoken(text * 150_000)
    assert spoken("<think>x</think>" + " " * 300_000 + "x").answer.strip() == "x"
