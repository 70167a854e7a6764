"""README.md files with Hugging Face metadata: the parts that the card of a dataset and of an adapter share.

Metadata fields: hub-docs, datasetcard.md and modelcard.md (read in November 2026). Text that a model, a file or a
person wrote stands in code spans and code blocks alone, where it is neither Markdown, HTML nor a link; in the metadata
it is a YAML string of one line. A card holds no date and no path of a machine: the same inputs give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from ouro.core.printable import printable, shorten

README = "README.md"
NO_LICENCE = (
    "No licence is chosen: that is for whoever publishes this, who has to know the terms of the pictures, of the base "
    "model and of what it wrote. Until then nobody is given any right. Choose one with `ouro push ... --license ID`, "
    "or by a line `license: ID` in the head of this file (https://huggingface.co/docs/hub/repositories-licenses)."
)
SCORES = "Scores"
NOT_SCORED = "No benchmark has been run."
_BACKTICKS = re.compile(r"`+")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B",
          "10B<n<100B", "100B<n<1T")  # fmt: skip


class ScoreRow(NamedTuple):
    """One figure of a benchmark's run with its 95% interval, as benchmarks report it: times `points`."""

    model: str
    benchmark: str
    figure: str
    value: float
    low: float
    high: float
    n: int


# ---- text ---------------------------------------------------------------------------------------


def code_span(text: str, limit: int = 200) -> str:
    """Foreign text in one line, as code: the fence is longer than any run of backticks in it."""
    line = printable(" ".join(shorten(text, limit).split())) or " "
    fence = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def code_block(lines: Iterable[str], language: str = "text") -> str:
    """Foreign lines as a code block: the fence is longer than any run of backticks in them."""
    text = "\n".join(printable(line.replace("\n", " ")) for line in lines)
    fence = "`" * max(3, 1 + max((len(run) for run in _BACKTICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are Markdown already. A | in them becomes ¦, since \\| would not keep it in its
    cell behind another \\, and what follows would stand outside of its code span."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "¦") for cell in line) + " |" for line in lines)


def count_table(name: str, counts: Mapping[str, int]) -> str:
    """Counts by reason or channel, as a table."""
    return table([name, "n"], [[code_span(key), f"{n:,}"] for key, n in counts.items()])


def score_table(rows: Sequence[ScoreRow]) -> str:
    """Figures with their 95% intervals; NOT_SCORED without rows."""
    if not rows:
        return NOT_SCORED
    cells = [[*map(code_span, r[:3]), f"{r.value:.1f} [{r.low:.1f}, {r.high:.1f}]", f"{r.n:,}"] for r in rows]
    return table(["model", "benchmark", "figure", "value [95% interval]", "questions"], cells)


# ---- the card ------------------------------------------------------------------------------------


def make_card(metadata: Mapping[str, Any], title: str, sections: Mapping[str, str]) -> str:
    """The text of README.md: metadata without what is empty, title, sections in their order."""
    import yaml

    fields = {key: value for key, value in metadata.items() if value not in (None, "", [])}
    head = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=10_000)
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    return f"---\n{head}---\n\n# {title}\n\n{body}\n"


def replace_section(card: str, name: str, text: str) -> str:
    """A card with another text in one of its sections. Raises ValueError when it has no such section."""
    start = card.find(f"\n## {name}\n")
    if start < 0:
        raise ValueError(f"got a README.md without a section {name!r}, expected one that Ouro wrote")
    end = card.find("\n## ", start + 1)
    rest = card[end:] if end >= 0 else ""
    return f"{card[:start]}\n## {name}\n\n{text}\n{rest}"


def size_category(n: int) -> str:
    """The hub's name for a number of rows: n<1K, 1K<n<10K, ..., n>1T for more than it has names for."""
    digits = max(0, len(str(n)) - 3)
    return _SIZES[digits] if digits < len(_SIZES) else "n>1T"


def is_hub_name(name: str) -> bool:
    """Whether it has the form ORGANISATION/NAME."""
    return _HUB_NAME.fullmatch(name) is not None


def public_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Params as anybody may see them: of an absolute path its last name, and no address of a server."""
    return {key: public_value(value) for key, value in values.items() if not key.endswith((".url", ".address"))}


def public_value(value: Any) -> Any:
    """A value without the path of this machine that it may be."""
    if isinstance(value, (list, tuple)):
        return [public_value(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        return PureWindowsPath(value).name if "\\" in value else PurePosixPath(value).name
    return value


def param_block(values: Mapping[str, Any]) -> str:
    """Flat params as a code block, a line each, as JSON writes their values."""
    import json

    return code_block(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in public_values(values).items())
