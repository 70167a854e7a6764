"""Prompts of the benchmarks, as evaluation harnesses use them; registry.py says whose."""

from __future__ import annotations

SHORT = "{question}\nAnswer the question using a single word or phrase."
UNSURE = (
    "{question}\nWhen the provided information is insufficient, respond with 'Unanswerable'.\n"
    "Answer the question using a single word or phrase."
)
LETTER = "{context}{question}\n{options}\nAnswer with the option's letter from the given choices directly."
ICON_LETTER = "{question}\n{options}\nPlease answer with the option letter from the given choices directly."
ICON_BLANK = "{question}\nPlease answer the question using a single word or phrase."
CAPTION = "Provide a one-sentence caption for the provided image."
KEY = "What is the value for the {key}?"
TRUTH = "Based on the image, is this statement true or false? {question} Answer:"
REGION = "Please provide the bounding box coordinate of the region this sentence describes: <ref>{question}</ref>"
BEST = "Pick the best caption for this from the below options. Answer in one word, the option letter only.\n{options}"
