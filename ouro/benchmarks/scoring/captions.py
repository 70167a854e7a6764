"""CIDEr-D: COCO captions, Flickr30K, TextCaps.

Vedantam et al. 2015, in the form of coco-caption: scores of pycocoevalcap, so 0 to 10 for each image and their mean for
the corpus; published numbers are the mean times 100. The document frequency of an n-gram is over the references of the
images that are scored: a part of a split has other frequencies, and its score is not comparable with that of the whole;
a single image scores 0. A caption equal to its only reference scores 10, 2.5 less for each n from 1 to 4 of which it
has no n-gram, or only those that every image has; one equal to one of several references scores less.

Sources: `cider/cider_scorer.py` (the arithmetic, in cider_d.py, so that it also runs without the package) and
`tokenizer/ptbtokenizer.py` of pycocoevalcap 1.2; tested against both. Deviations, with the tokenizer
`ptb`: what Unicode counts as the end of a line is a space (they replace the newline only, and a carriage return shifts
every later caption to another image); files are written to a temporary folder, not beside the package; a failure of
Java is an error; nothing is printed. Scores are not rounded.

Tokenizers:
ptb:   Stanford's PTBTokenizer 3.4.1 in lower case, without the punctuation that pycocoevalcap drops. Published numbers
       use it. Needs Java and pycocoevalcap.
plain: needs neither, for a quick look: words with inner hyphens, numbers, `n't` and `'s` split off, no punctuation but
       $ % & #. Measured against ptb on made-up captions (400 images, five references, CIDEr x 100): equal on clean
       ones, up to 0.7 off with stray brackets and signs, up to 1 off with quoted signs and prices. On TextCaps itself
       plain tokenizers were seen 3 to 20 points off: not for reports.
Others: VLMEvalKit does not tokenise COCO captions, which costs 2 to 54 points.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from ouro.benchmarks.scoring.cider_d import cider_d
from ouro.benchmarks.scoring.ptb import ptb_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Tokenizer = Literal["ptb", "plain"]


class CiderScores(NamedTuple):
    """corpus: the mean over the images; by_id: the score of each, in the order of the references."""

    corpus: float
    by_id: dict[str, float]


def cider(
    replies: Mapping[str, str], references: Mapping[str, Sequence[str]], tokenizer: Tokenizer = "ptb"
) -> CiderScores:
    """CIDEr-D of one caption an image; ids may be any strings.

    Raises ValueError if replies and references are not of the same images, or an image has no reference;
    MissingTokenizerError if Java or pycocoevalcap is missing for ptb.
    """
    _check(replies, references)
    counts = [len(references[i]) for i in references]
    texts = [_one_line(text) for i in references for text in (replies[i], *references[i])]
    tokens = iter(ptb_tokens(texts) if tokenizer == "ptb" else [plain_tokens(text) for text in texts])
    images = [(next(tokens), [next(tokens) for _ in range(count)]) for count in counts]
    scores = cider_d(images)
    return CiderScores(sum(scores) / len(scores), dict(zip(references, scores, strict=True)))


def _check(replies: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    if not references:
        raise ValueError("CIDEr: got no image, expected at least one")
    unequal = sorted(replies.keys() ^ references.keys())
    if unequal:
        raise ValueError(
            f"CIDEr: image {unequal[0]!r} and {len(unequal) - 1} more have a reply or references, expected both"
        )
    bare = [i for i in references if not references[i]]
    if bare:
        raise ValueError(f"CIDEr: image {bare[0]!r} and {len(bare) - 1} more have no reference")


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


_NOT = r"\w+(?=n't\b)|n't\b"
_NUMBER = r"\d+(?:[.,:]\d+)+"
_PLAIN = re.compile(rf"{_NOT}|{_NUMBER}|'(?:s|re|ve|ll|d|m)\b|\w+(?:-\w+)*|[$%&#]")


def plain_tokens(caption: str) -> list[str]:
    """Words of a caption in lower case, without Java."""
    return _PLAIN.findall(caption.lower().replace("\u2019", "'"))
