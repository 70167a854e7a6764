"""What the annotator is asked. The five aspects are the paper's (OURO section 3.1, before eq. 5)."""

from __future__ import annotations

from typing import Final

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
    return TEMPLATES[template].format(description=description, aspect=aspect, guidance=GUIDANCE[aspect])
