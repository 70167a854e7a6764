"""Tokens of a text, by a model's own tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

TOKENIZER = "tokenizer.json"
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")


def count_words(text: str) -> int:
    """Words and marks: the length of a text where no tokenizer is at hand."""
    return sum(1 for _ in _WORD_OR_MARK.finditer(text))


def load_token_counter(file: Path) -> Callable[[str], int] | None:
    """Counts a text's tokens without special ones, by a tokenizer.json; None where there is no such file."""
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


@lru_cache(maxsize=4)
def token_counter(file: Path, _fingerprint: str) -> Callable[[str], int]:
    """As `load_token_counter`, loaded once for a file's content; counts words and marks where there is no file."""
    return load_token_counter(file) or count_words
