"""The answer of a reply, apart from what the model thinks aloud before it; this is what every protocol judges.

Marks: <think> and tags of that kind (<thinking>, <thought>, <reasoning>, <seed:think>), ◁think▷ (Kimi-VL), [THINK]
(Magistral), <|begin_of_thought|>, <|START_THINKING|> (Command), <unused94> and <unused95> (MedGemma), and the channels
of gpt-oss, whose answer is the last one called final. As in ouro.annotate.cleaning, thinking is all before the last
closing mark, whose opening one may stand in the prompt, or all after an opening one that is never closed. An answer in
<answer>, <|begin_of_box|> (GLM-V), <|begin_of_solution|> or <|START_RESPONSE|> is taken out of it. A reply without any
of these is judged as it is, to the last blank.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BAR = "[|\uff5c]"
_TAGS = r"(?:seed:)?(?:think|thinking|thoughts?|reasoning|reason|scratchpad|reflection)"
_OPEN = re.compile(
    rf"<{_TAGS}>|\u25c1think\u25b7|\[THINK\]|<{_BAR}(?:begin_of_thought|START_THINKING|think){_BAR}>|<unused94>",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</{_TAGS}>|\u25c1/think\u25b7|\[/THINK\]|<{_BAR}(?:end_of_thought|END_THINKING|/think){_BAR}>|<unused95>",
    re.IGNORECASE,
)
_CHANNEL = re.compile(rf"<{_BAR}channel{_BAR}>([^<]*)(?:<{_BAR}constrain{_BAR}>[^<]*)?<{_BAR}message{_BAR}>")
_CHANNEL_BEGUN = re.compile(rf"<{_BAR}channel{_BAR}>")
_CHANNEL_END = re.compile(rf"<{_BAR}(?:end|return|start|call|channel){_BAR}>")
_BARE_CHANNELS = re.compile(r"analysis(?=[A-Z]).*assistantfinal", re.DOTALL)  # where a tokenizer dropped the marks
_ANSWER_OPEN = re.compile(rf"<answer>|<{_BAR}(?:begin_of_box|begin_of_solution|START_RESPONSE){_BAR}>", re.IGNORECASE)
_ANSWER_CLOSE = re.compile(rf"</answer>|<{_BAR}(?:end_of_box|end_of_solution|END_RESPONSE){_BAR}>", re.IGNORECASE)
_END_TOKEN = re.compile(rf"(?:<{_BAR}[\w \u2581]{{1,40}}{_BAR}>|</s>|<eos>|<end_of_turn>)\Z")
_LONGEST = 44  # signs of an end token


class Spoken(NamedTuple):
    """A reply's answer; whether the model thought aloud, and never came to an end of it."""

    answer: str
    thought: bool = False
    unfinished: bool = False

    @property
    def cut(self) -> bool:
        """Whether it was cut before there was any answer."""
        return self.unfinished and not self.answer.strip()


def spoken(reply: str) -> Spoken:
    """A reply apart from its thinking."""
    found = _by_channels(reply) or _by_marks(reply)
    answer = _unwrapped(found.answer)
    if not found.thought and answer == found.answer:
        return found
    return found._replace(answer=_without_end_tokens(answer))


def _by_channels(reply: str) -> Spoken | None:
    """None where there are no channels."""
    if _CHANNEL_BEGUN.search(reply) is None:
        bare = _BARE_CHANNELS.match(reply)
        return Spoken(reply[bare.end() :], thought=True) if bare else None
    channels = list(_CHANNEL.finditer(reply))
    final = next((one for one in reversed(channels) if one[1].strip().lower() == "final"), None)
    if final is None:
        return Spoken("", thought=True, unfinished=True)
    end = _CHANNEL_END.search(reply, final.end())
    return Spoken(reply[final.end() : end.start() if end else None], thought=len(channels) > 1)


def _by_marks(reply: str) -> Spoken:
    closing = list(_CLOSE.finditer(reply))
    after = closing[-1].end() if closing else 0
    opening = _OPEN.search(reply, after)
    answer = reply[after : opening.start() if opening else None]
    first = _OPEN.search(reply)
    if closing and first and not answer.strip():
        answer = reply[: first.start()]  # "yes <think>...</think>"
    return Spoken(answer, bool(closing or opening), opening is not None)


def _unwrapped(text: str) -> str:
    """The last answer that is marked as one, or all of the text."""
    marks = list(_ANSWER_OPEN.finditer(text))
    if not marks:
        return text
    end = _ANSWER_CLOSE.search(text, marks[-1].end())
    return text[marks[-1].end() : end.start() if end else None]


def _without_end_tokens(text: str) -> str:
    """Without the tokens that end a turn, and blanks."""
    text = text.strip()
    while end := _END_TOKEN.search(text[-_LONGEST:]):
        text = text[: len(text) - len(end[0])].rstrip()
    return text
