"""What a model is asked: to describe a region (eq. 3), to write question-answer pairs (eq. 5), to answer a question.

Prompts of others stand word for word, without the picture's placeholder, each with its source; ours say "(ours)". The
five aspects are the paper's (OURO section 3.1, before eq. 5), which prints no prompt for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ouro.core.control_tokens import break_control_tokens

# ---- descriptions --------------------------------------------------------------------------------------------

PROMPTS: Final[dict[str, str]] = {
    # VILA^2 section 2.1.1. Table 2: "simple" does not help training, each of the long ones does; it mixes those.
    "simple": "Describe the image briefly.",
    "long-v1": "Describe the image in details.",
    "long-v2": "Elaborate on the visual and narrative elements of the image in detail.",
    "long-v3": (
        "Instead of describing the imaginary content, only describing the content one can determine confidently from "
        "the image. Do not describe the contents by itemizing them in list form. Minimize aesthetic descriptions as "
        "much as possible."
    ),
    # VILA^2 sections 2.2 and A.1, for its specialists; it uses the two spatial ones equally often.
    "spatial": (
        "Elaborate on the visual and narrative elements of the image in detail, with a focus on spatial relations."
    ),
    "spatial-v2": "Can you explain the content of the image and their spatial relations in detail?",
    "grounded": (
        "Elaborate on the visual and narrative elements in the image, and specify their location with "
        "[xmin,ymin,xmax,ymax]."
    ),
    "ocr": (
        "Your task is to recognize and describe the text in the image. Please provide a brief description that focuses "
        "on the textual content."
    ),
}

BY_KIND: Final[dict[str, str]] = {  # one for each of ouro.core.records.KINDS
    "scene": PROMPTS["spatial"],
    "object": (  # (ours)
        "Describe the main object of the image in detail: what it is, its colour, shape, material and parts, and any "
        "text on it. Describe only what can be seen."
    ),
    "text": PROMPTS["ocr"],
    "table": (  # (ours)
        "The image shows a table. Say what it is about, name its columns and rows, and state the values in its cells, "
        "in plain sentences."
    ),
    "chart": (  # (ours)
        "The image shows a chart. Say what kind of chart it is, what its title, axes and legend say, which values it "
        "shows, and how they compare, in plain sentences."
    ),
}


def description_prompt(name: str, kind: str, own_prompt: str) -> str:
    """The text of a named prompt for a region of this kind: "own", "by-kind", or one of PROMPTS. Raises KeyError."""
    if name == "own":
        return own_prompt
    return BY_KIND[kind] if name == "by-kind" else PROMPTS[name]


# ---- names of main objects ------------------------------------------------------------------------------------

NAME: Final = "What is the main object? Answer with a short noun phrase."  # (ours)

# Name and description in one reply, for servers that hold it to the schema; the name first, so that it is whole. (ours)
STRUCTURED: Final = (
    '{prompt}\nReply with one JSON object: {{"name": the main object as a short noun phrase, "text": the description}}.'
)
STRUCTURED_SCHEMA: Final = (
    '{"type": "object", "properties": {"name": {"type": "string"}, "text": {"type": "string"}}, '
    '"required": ["name", "text"], "additionalProperties": false}'
)


# ---- merging --------------------------------------------------------------------------------------------------

NONE_OF_THEM: Final = "none of them"


def which_value_prompt(about: str, values: Sequence[str]) -> str:
    """With a crop: which of the values is right? (ours)"""
    return f"Which is right about this image: {_words(about)}?\n{_list_options(values)}\nAnswer with one of these only."


def which_phrase_prompt(name: str, text: str, phrases: Sequence[str]) -> str:
    """Text alone: which of a description's phrases means the thing that is called `name` elsewhere? (ours)"""
    name, text = _words(name), _words(text)
    return (
        f"Here is a description of an image:\n{text}\n\nA close-up of a part of it shows {name}. Which of these does "
        f"{name} mean?\n{_list_options(phrases)}\nAnswer with one of these only."
    )


def _list_options(options: Sequence[str]) -> str:
    return "\n".join(f"- {_words(option)}" for option in options)


def _words(text: str) -> str:
    """A text as a prompt may hold it: a control token in it would be a turn, or a picture, of the request."""
    return break_control_tokens(text).text


# ---- question-answer pairs -----------------------------------------------------------------------------------

ASPECTS: Final = ("object details", "spatial relationships", "style", "scene context", "interactions")

# What each aspect covers, for instruction-tuned models; ours, since the paper prints no prompt for it.
GUIDANCE: Final[dict[str, str]] = {
    "object details": "the attributes of single objects: colour, shape, material, size, printed text",
    "spatial relationships": "where objects are, in the image and relative to each other",
    "style": "patterns, textures, lighting and the visual style",
    "scene context": "the scene as a whole: what place it is, how many things of a kind there are, what signs say",
    "interactions": "what acts on what: what holds, carries, supports, uses or looks at what",
}

INSTRUCTED: Final = (
    "Here is a detailed description of the image:\n{description}\n\n"
    "Write question-answer pairs about {aspect}: {guidance}. Use only facts stated in the description; every "
    "answer is a single word or short phrase. One pair a line, in the form\nQ: <question>? A: <answer>."
)

# The nano VLM knows this form only (ouro/nano/language.py writes its training text with the same function).
NANO: Final = "{description} write questions about {aspect}."

TEMPLATES: Final[dict[str, str]] = {"instructed": INSTRUCTED, "nano": NANO}


def synthesis_prompt(template: str, aspect: str, description: str) -> str:
    """The prompt P of eq. 5 for one aspect. Raises KeyError for an unknown template or aspect."""
    return TEMPLATES[template].format(description=_words(description), aspect=aspect, guidance=GUIDANCE[aspect])


# ---- support of pairs ----------------------------------------------------------------------------------------

SUPPORT: Final = (
    "Here is a description of a picture:\n{description}\n\nQuestion: {question}\nAnswer: {answer}\n\n"
    "Going by the description alone, is this answer right? Say yes or no."
)


def support_prompt(description: str, question: str, answer: str) -> str:
    """What the annotator is asked of a pair, without the picture."""
    return SUPPORT.format(description=_words(description), question=_words(question), answer=_words(answer))


# ---- answers -------------------------------------------------------------------------------------------------

# The round trip's question: with the words that LLaVA-1.5 (arXiv 2310.03744, section 3.2) asks short answers with.
ANSWERS: Final[dict[str, str]] = {
    "instructed": "{question}\nAnswer the question using a single word or phrase.",
    "nano": "{question}",
}


def answer_prompt(template: str, question: str) -> str:
    """What the model is asked with the image alone. Raises KeyError for an unknown template."""
    return ANSWERS[template].format(question=_words(question))
