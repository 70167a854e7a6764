"""Counting tokens of a text, with a model's own tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

_TOKEN = re.compile(r"\w+|[^\w\s]")


def count_words(text: str) -> int:
    """Words and marks: the length of a text where no tokenizer is at hand."""
    return sum(1 for _ in _TOKEN.finditer(text))


@lru_cache(maxsize=4)
def token_counter(tokenizer: Path, _fingerprint: str) -> Callable[[str], int]:
    """Counts the annotator's own tokens; words and marks where there is no tokenizer (`_fingerprint` "")."""
    if not _fingerprint:
        return count_words
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(tokenizer))
    loaded.no_truncation()
    loaded.no_padding()
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)
