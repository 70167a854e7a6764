"""Control tokens in text of strangers: what a tokenizer or a trainer reads as an order and not as words.

    <|im_start|> </s> <end_of_turn> [INST]     begin or end a turn
    <image> <|image_pad|> <IMG_CONTEXT>        stand for a picture
    <loc0256> <box> <0x0A> <unused12>          stand for a place, a byte, or nothing

A model may write one, OCR may read one in a screenshot, and a caption of the collection may hold one. In a training row
it would end the turn or ask for a second picture; in a prompt, the annotator would read a turn that nobody wrote. So
what a model wrote loses them (`remove_control_tokens`: they are no words of a description), and what stands in a
picture or in a human's caption keeps its letters but is no token any more (`break_control_tokens`: "<image>" becomes
"< image>", which no tokenizer takes for one token). Both are pure, take linear time, and change nothing a second time.

A token is one however it is hidden: with characters that cannot be seen ("<|im_<zero-width>end|>"), in full-width forms
("＜｜end▁of▁sentence｜＞"), or with HTML entities ("&lt;|im_end|&gt;"): what comes after us may undo any of these.
Case does not matter in angle brackets (`<PAD>` and `<pad>` are both somebody's); in square ones and of `<s>` it does.

No tokens, and left alone: "<3", "a < b > c", "[INSTRUCTIONS]", an unfinished "</s", `<left>`, and HTML such as `<b>`,
`<p>`, `<td>` or `<img src="x">`, which pages show escaped like all text.

Sources: the special and added tokens of the families' published tokenizers (tokenizer_config.json and added_tokens.json
of those named in FAMILIES); what the processors of transformers 5.23 write (`models/*/processing_*.py`); LLaVA's
`constants.py`; the placeholders of ms-swift's and LLaMA-Factory's data sets.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

# Tokens in angle brackets, by who has them; <s>, </s> and those between bars, <|...|>, are forms of their own.
FAMILIES: Final[dict[str, str]] = {
    "SentencePiece: Llama 2, Mistral, LLaVA, Gemma, T5": "unk pad mask bos eos cls sep eot sop eop eod eoss",
    "Gemma": "start_of_turn end_of_turn start_of_image end_of_image image_soft_token start_of_audio end_of_audio"
    " audio_soft_token",
    "LLaVA, VILA, Molmo": "image video audio im_start im_end im_patch im_col im_low low_res_im_start image-placeholder"
    " vi_start vi_end vila/sentinel",
    "Idefics, SmolVLM": "fake_token_around_image end_of_utterance global-img",
    "InternVL, Qwen-VL": "img /img IMG_CONTEXT imgpad quad /quad ref /ref box /box",
    "DeepSeek-VL, Janus": "image_placeholder begin_of_image patch_placeholder",
    "MiniCPM-V": "/image slice /slice image_id /image_id point /point",
    "Kosmos-2": "grounding phrase /phrase object /object delimiter_of_multi_objects/ /delimiter_of_multi_objects/"
    " patch_newline",
    "Florence-2": "od /od ocr /ocr cap /cap ncap /ncap dcap /dcap grounding /grounding poly /poly proposal region_cap"
    " /region_cap region_to_desciption",
    "Cohere": "BOS_TOKEN EOS_TOKEN MASK_TOKEN EOP_TOKEN",
    "StarCoder, CodeLlama": "fim_prefix fim_middle fim_suffix fim_pad FILL_ME",
    "Others that transformers' processors write": "frame_start frame_end vision_start vision_end IMG_ROW IMG_COL"
    " IMG_END IMG_ATOM so_start so_end so_embedding sound asr_text",
    "Qwen3, GLM: added tokens": "think /think tool_call /tool_call tool_response /tool_response tools /tools",
    "ms-swift's placeholders": "bbox ref-object cot-process start-image",
}
_NUMBERED = (
    r"(?:unused|extra_id|extra|loc|seg|special|reserved|mask|unk|patch_index|control|pad)_?\d{1,6}",
    r"0x[0-9a-f]{2}",
    r"row_\d{1,3}_col_\d{1,3}",
    r"racm3:break",
    r"/?s_[\w.-]{1,40}",  # Donut's fields
)
_BRACKETED = (
    "INST /INST SYSTEM_PROMPT /SYSTEM_PROMPT AVAILABLE_TOOLS /AVAILABLE_TOOLS TOOL_RESULTS /TOOL_RESULTS TOOL_CALLS"
    " TOOL_CONTENT /TOOL_CONTENT ARGS CALL_ID IMG IMG_BREAK IMG_END AUDIO BEGIN_AUDIO TRANSCRIBE THINK /THINK"
    " PREFIX MIDDLE SUFFIX CLS SEP MASK PAD UNK BOS EOS gMASK sMASK"
)  # Mistral, Pixtral; BERT (BLIP); GLM. Case counts: they are words otherwise


def _one_of(names: str) -> str:
    return "|".join(re.escape(name) for name in sorted(set(names.split())))


_NAMES = _one_of(" ".join(FAMILIES.values()))
_TOKEN = re.compile(
    r"<(?:\|(?:[^<>|\s]{1,60}\|>"  # ChatML, Qwen, Llama 3, Phi, DeepSeek, GLM, Command: any name between bars
    r"|[a-z]{1,20} (?:start|end|token|file)\|>"  # Emu3
    r"|[\w./:-]{1,60}>)|[\w./:-]{1,60}\|>"  # Gemma 4 and others: one bar, <|turn> and <turn|>
    rf"|(?=[/\w])(?:/?s|(?i:{_NAMES}|{'|'.join(_NUMBERED)}))>|</?SYS>>)"
    rf"|\[(?=[/\w])(?:{_one_of(_BRACKETED)}|control_\d{{1,6}})\]"
    r"|\u25c1/?\w{1,30}\u25b7"  # Kimi-VL
    r"|\|(?:ENDOFTEXT|SPEAKER|NEWLINE)\|"  # Fuyu
)
_MAY_BEGIN = re.compile("[<[&|\u25c1\uff1c\uff3b\uff5c]")  # no token without one of these

UNSEEN: Final = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffd\ud800-\udfff"
)
"""Controls but blanks, soft hyphens, zero-width and bidirectional marks, undecodable tokens, halves of surrogate pairs:
ranges of a character class."""
_IGNORED = (
    f"[{UNSEEN}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
_ENTITIES = {
    "<": r"lt|0*60|x0*3c", ">": r"gt|0*62|x0*3e", "|": r"vert|verbar|0*124|x0*7c",
    "[": r"lbrack|lsqb|0*91|x0*5b", "]": r"rbrack|rsqb|0*93|x0*5d",
}  # fmt: skip
_HIDDEN = re.compile(
    rf"(?P<none>{_IGNORED})|(?P<wide>[\uff01-\uff5e])"
    rf"|&(?:amp;){{0,3}}#?(?:{'|'.join(f'(?P<e{at}>{names})' for at, names in enumerate(_ENTITIES.values()))});",
    re.IGNORECASE,
)
_BROKEN = re.compile(r"(?<=[<[&|\u25c1\uff1c\uff3b\uff5c]) (?=\S)")
_PASSES = 4  # more is no slip but an attack: tokens within tokens within tokens are broken where they stand
_QUOTES = "\"'`“”‘’«»「」『』"


META: Final = "control_tokens"  # key of a sidecar's meta


class Cleaned(NamedTuple):
    """A text without control tokens, and how many it had."""

    text: str
    n_tokens: int


def remove_control_tokens(text: str) -> Cleaned:
    """A text without its control tokens, also those that appear when another one between their halves goes."""
    n_tokens = 0
    for _ in range(_PASSES):
        spans = find_control_tokens(text)
        if not spans:
            return Cleaned(text, n_tokens)
        text = _cut_out(text, spans)
        n_tokens += len(spans)
    broken = break_control_tokens(text)
    return Cleaned(broken.text, n_tokens + broken.n_tokens)


def break_control_tokens(text: str) -> Cleaned:
    """A text whose control tokens have a blank after their first character: readable, and no tokens any more."""
    n_tokens = 0
    while spans := find_control_tokens(text):  # one may stand in another: <|[INST]|>
        text = _insert_blanks(text, [start + 1 for start, _ in spans])
        n_tokens += len(spans)
    return Cleaned(text, n_tokens)


def break_quoted_tokens(text: str) -> str:
    """A text whose control tokens in quotation marks are broken: 'a sign that reads "<image>"' speaks of the sign."""
    spans = [
        (start, end)
        for start, end in find_control_tokens(text)
        if start > 0 and end < len(text) and text[start - 1] in _QUOTES and text[end] in _QUOTES
    ]
    return _insert_blanks(text, [start + 1 for start, _ in spans]) if spans else text


def find_control_tokens(text: str) -> list[tuple[int, int]]:
    """Characters [start, end) of each control token, in order, without overlaps."""
    if _MAY_BEGIN.search(text) is None:
        return []
    if _HIDDEN.search(text) is None:
        return [match.span() for match in _TOKEN.finditer(text)]
    folded, places = _fold(text)
    return [(places[m.start()][0], places[m.end() - 1][1]) for m in _TOKEN.finditer(folded)]


def count_control_tokens(text: str) -> int:
    """How many control tokens a text has."""
    return len(find_control_tokens(text))


def count_broken_tokens(text: str) -> int:
    """How many control tokens a text would have, were those that `break_control_tokens` broke whole."""
    return count_control_tokens(_BROKEN.sub("", text)) if _BROKEN.search(text) else 0


def tokens_meta(n_tokens: int) -> dict[str, int]:
    """For a shard's sidecar: how many control tokens were removed or broken in its texts; nothing where none was."""
    return {META: n_tokens} if n_tokens else {}


def _cut_out(text: str, spans: list[tuple[int, int]]) -> str:
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return "".join(text[end:start] for end, start in zip(ends, starts, strict=True))


def _insert_blanks(text: str, places: list[int]) -> str:
    edges = [0, *places, len(text)]
    return " ".join(text[start:end] for start, end in pairwise(edges))


def _fold(text: str) -> tuple[str, list[tuple[int, int]]]:
    """A text as a careless step after us might read it; and of each of its characters the place in the original."""
    pieces: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for match in _HIDDEN.finditer(text):
        pieces.append(text[at : match.start()])
        places += [(place, place + 1) for place in range(at, match.start())]
        at = match.end()
        if match["none"] is None:
            pieces.append(_plain_form(match))
            places.append(match.span())
    pieces.append(text[at:])
    places += [(place, place + 1) for place in range(at, len(text))]
    return "".join(pieces), places


def _plain_form(match: re.Match[str]) -> str:
    """The ASCII character that a full-width one or an entity stands for."""
    if match["wide"] is not None:
        return chr(ord(match["wide"]) - 0xFEE0)
    return next(sign for at, sign in enumerate(_ENTITIES) if match[f"e{at}"] is not None)
