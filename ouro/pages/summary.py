"""The summary at the end of `ouro annotate`: what came in, what was made of it, what was rejected and why, and when.

Read back shard by shard from what the stages wrote, so that memory does not grow with the collection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

from ouro.core.artifacts import list_shards, read_shard, read_sidecar, sidecar_path
from ouro.core.control_tokens import META
from ouro.core.counts import count_records
from ouro.core.layout import Layout, shard_names
from ouro.core.records import Description, QAPair, Region, Scene
from ouro.core.tokens import TOKENIZER, load_token_counter


@dataclass(frozen=True)
class Summary:
    """All but `images_in` counts finished shards only, `shards_done` of `shards`; when all are done,
    images_in == annotated + held_out (split "test", never annotated) + the sum of `images_rejected`.

    Words are separated by white space; tokens are those of the annotator's tokenizer, None where it is not to be
    had. `rejected`: records by stage and reason. `control_tokens`: removed from texts or broken in them, by stage
    (ouro.core.control_tokens). `seconds`: wall time by stage of this run; what an earlier one had
    finished costs it next to nothing. `replies`: of the stages that ask the annotator how many `unit` of this run's
    shards were `kept` from earlier runs, and how many were `made`, which is asked, in this one.
    """

    shards: int
    shards_done: int
    images_in: int
    annotated: int
    held_out: int
    images_rejected: dict[str, int]
    regions: int
    regions_by_level: dict[str, int]
    regions_by_source: dict[str, int]
    descriptions: int
    description_words: int
    scene_words: int
    scene_tokens: int | None
    pairs: int
    pairs_by_aspect: dict[str, int]
    rejected: dict[str, dict[str, int]]
    seconds: dict[str, float]
    control_tokens: dict[str, int] = field(default_factory=dict[str, int])
    replies: dict[str, dict[str, int | str]] = field(default_factory=dict[str, dict[str, int | str]])

    def to_json(self) -> dict[str, object]:
        """Plain values for summary.json."""
        return asdict(self)


def finished(layout: Layout) -> list[str]:
    """The shards that all stages have finished, in whichever process."""
    return [name for name in shard_names(layout.images) if sidecar_path(layout.qa / name).is_file()]


def summarise(
    layout: Layout,
    model: Path,
    seconds: Mapping[str, float],
    replies: Mapping[str, dict[str, int | str]] = MappingProxyType({}),
) -> Summary:
    """Count what lies in the folder. `model`: the folder whose tokenizer counts tokens."""
    names = finished(layout)
    sidecars = [read_sidecar(path) for path in list_shards(layout.images)]
    n_ingested = sum(read_sidecar(layout.images / name).n_out for name in names)
    count = _Counts(load_token_counter(model / TOKENIZER))
    for name in names:
        count.shard(layout, name)
    of_stages = {"ingest": sidecars}
    for stage, folder in list(layout.stages().items())[1:]:
        of_stages[stage] = [read_sidecar(folder / name) for name in names]
    counts = {stage: count_records(stage, stage_sidecars) for stage, stage_sidecars in of_stages.items()}
    tokens = {stage: sum(sidecar.meta.get(META, 0) for sidecar in of_stages[stage]) for stage in of_stages}
    rejected = {stage: _sum_counts([count.rejected]) for stage, count in counts.items()}
    return Summary(
        shards=len(sidecars),
        shards_done=len(names),
        images_in=counts["ingest"].n_in,
        annotated=counts["merge"].n_out,
        held_out=n_ingested - counts["merge"].n_in,
        images_rejected=_sum_counts((rejected["ingest"], rejected["merge"])),
        regions=sum(count.levels.values()),
        regions_by_level=dict(sorted(count.levels.items(), key=lambda kv: int(kv[0]))),
        regions_by_source=_sum_counts([count.sources]),
        descriptions=count.descriptions,
        description_words=count.description_words,
        scene_words=count.words,
        scene_tokens=count.tokens,
        pairs=sum(count.aspects.values()),
        pairs_by_aspect=_sum_counts([count.aspects]),
        rejected={stage: reasons for stage, reasons in rejected.items() if reasons},
        seconds=dict(seconds),
        control_tokens={stage: n for stage, n in tokens.items() if n},
        replies=dict(replies),
    )


def lines(summary: Summary) -> list[str]:
    """The summary as text, one line a subject."""
    s = summary
    unfinished = (
        f", in {s.shards_done} of {s.shards} shards: the rest is not finished" if s.shards_done < s.shards else ""
    )
    held_out = f", {s.held_out} held out" if s.held_out else ""
    tokens = "" if s.scene_tokens is None else f", {s.scene_tokens} tokens"
    return [
        f"images: {s.images_in} in, {s.annotated} annotated{held_out}, "
        f"{_total_line(s.images_rejected, 'rejected')}{unfinished}",
        f"regions: {s.regions}; level {_list_counts(s.regions_by_level)}; {_list_counts(s.regions_by_source)}",
        f"descriptions: {s.descriptions} of regions, {s.description_words} words; merged: {s.annotated}, "
        f"{s.scene_words} words{tokens}",
        f"question-answer pairs: {_total_line(s.pairs_by_aspect, '')}",
        *(
            f"rejected by {stage}: {_total_line(r, '')}"
            for stage, r in s.rejected.items()
            if stage not in ("ingest", "merge")
        ),
        *(
            [f"control tokens in texts, removed or broken: {_total_line(s.control_tokens, '')}"]
            if s.control_tokens
            else []
        ),
        *([f"replies: {'; '.join(_reply_line(*r) for r in s.replies.items())}"] if s.replies else []),
        f"seconds: {', '.join(f'{stage} {t:.1f}' for stage, t in s.seconds.items())}",
    ]


def _reply_line(stage: str, work: Mapping[str, int | str]) -> str:
    return f"{stage} {work['kept']} {work['unit']} kept from earlier runs, {work['made']} asked"


class _Counts:
    """Counts over the shards that were added."""

    def __init__(self, tokens_of: Callable[[str], int] | None) -> None:
        self.levels: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.aspects: Counter[str] = Counter()
        self.descriptions = self.description_words = self.words = 0
        self.tokens = None if tokens_of is None else 0
        self._tokens_of = tokens_of

    def shard(self, layout: Layout, name: str) -> None:
        for region in read_shard(layout.regions / name, Region):
            self.levels[str(region.level)] += 1
            self.sources[region.source] += 1
        for description in read_shard(layout.descriptions / name, Description):
            self.descriptions += 1
            self.description_words += len(description.text.split())
        texts = [scene.text for scene in read_shard(layout.scenes / name, Scene)]
        self.words += sum(len(text.split()) for text in texts)
        if self.tokens is not None and self._tokens_of is not None:
            self.tokens += sum(map(self._tokens_of, texts))
        self.aspects.update(pair.aspect for pair in read_shard(layout.qa / name, QAPair))


def _sum_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of counters, the most frequent key first."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items(), key=lambda kv: (-kv[1], kv[0])))


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {n}" for name, n in counts.items())


def _total_line(counts: Mapping[str, int], what: str) -> str:
    total = " ".join([str(sum(counts.values())), *([what] if what else [])])
    return f"{total} ({_list_counts(counts)})" if counts else total
