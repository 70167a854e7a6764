"""Probabilities of a local model's tokens: of those that it generated, and of those that tell options apart.

Shapes: B requests of a batch, T tokens, V words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

Ids = tuple[int, ...]


class GreedyProbabilities:
    """A logits processor that changes nothing and keeps the probability of each step's most probable token, which is
    the one that greedy decoding takes. Other processors come before it: it sees what is decided on."""

    def __init__(self) -> None:
        self._steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores (B, V), as they came."""
        self._steps.append(scores.softmax(-1).amax(-1))
        return scores

    def of_replies(self, ids: torch.Tensor, ends: Sequence[int]) -> list[tuple[float, float] | None]:
        """Mean and lowest probability of each reply's tokens before the first of `ends`; None of a reply without any.

        `ids`: (B, T), what was generated.
        """
        import torch

        probabilities = torch.stack(self._steps, 1).float().cpu()  # (B, T)
        ended = torch.isin(ids.cpu(), torch.tensor(list(ends)))
        counts = (ended.cumsum(1) == 0).sum(1).tolist()
        rows = [row[:n] for row, n in zip(probabilities, counts, strict=True)]
        return [(float(row.mean()), float(row.min())) if len(row) else None for row in rows]


class Path(NamedTuple):
    """A beginning of an option's token ids that no other option has."""

    option: int
    ids: Ids


def spellings(option: str) -> tuple[str, ...]:
    """An option as it is, with and without a capital: models begin a reply with either."""
    text = " ".join(option.split())
    return tuple(dict.fromkeys((text, text[:1].upper() + text[1:], text[:1].lower() + text[1:])))


def decisive_paths(options: Sequence[Sequence[Ids]]) -> list[Path]:
    """The shortest beginnings that tell options apart; `options` holds the token ids of each one's spellings, with the
    end token. A spelling that another option has, too, is taken whole."""
    paths: dict[Path, None] = {}
    for number, encodings in enumerate(options):
        others = [ids for other, all_ids in enumerate(options) if other != number for ids in all_ids]
        for ids in encodings:
            lengths = range(1, len(ids) + 1)
            length = next((n for n in lengths if all(other[:n] != ids[:n] for other in others)), len(ids))
            paths[Path(number, ids[:length])] = None
    return list(paths)


def rows_of(paths: Sequence[Path]) -> list[Ids]:
    """What has to follow a prompt so that the probabilities of all paths can be read: their tokens but the last, only
    those that no other row begins with."""
    rows = sorted({path.ids[:-1] for path in paths}, key=len, reverse=True)
    return [row for n, row in enumerate(rows) if all(longer[: len(row)] != row for longer in rows[:n])]


def option_probabilities(
    paths: Sequence[Path], rows: Sequence[Ids], logits: Sequence[torch.Tensor], n_options: int
) -> tuple[float, ...]:
    """The probability of each option, normalised over all.

    `logits`: of each row (its tokens and one more, V), beginning with what follows the prompt.
    """
    sums = [0.0] * n_options
    for option, ids in paths:
        number = next(n for n, row in enumerate(rows) if row[: len(ids) - 1] == ids[:-1])
        steps = logits[number][: len(ids)].float().log_softmax(-1)
        sums[option] += float(sum(steps[at, token] for at, token in enumerate(ids)).exp())  # type: ignore[union-attr]
    return normalised(sums)


def normalised(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights as shares of their sum; equal shares where the sum is no positive number."""
    total = sum(weights)
    if not 0.0 < total < float("inf"):
        return (1.0 / len(weights),) * len(weights)
    return tuple(weight / total for weight in weights)


def end_tokens(model: Any, *extra_ids: int | None) -> list[int]:
    """The ids after which a reply has ended: those of the model's generation settings and `extra_ids`."""
    setting = model.generation_config.eos_token_id
    ids = setting if isinstance(setting, list) else [setting]
    return sorted({i for i in (*ids, *extra_ids) if i is not None})
