"""Tokens of a text, by a model's own tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

TOKENIZER = "tokenizer.json"


def load_token_counter(file: Path) -> Callable[[str], int] | None:
    """Counts a text's tokens without special ones, by a tokenizer.json; None where there is no such file."""
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
