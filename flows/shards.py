"""The loop of the stage flows over their shards: one after the other, on threads, or on Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ouro.core.artifacts import prune_shards, read_sidecar
from ouro.core.layout import Layout, shard_names
from ouro.core.params import Params
from ouro.core.params_text import ParamsError
from tasks import screen
from tasks.prefect_artifacts import count_artifact
from tasks.processes.pool import pool
from tasks.shards import Work, made_mark
from tasks.timing import record_work

__all__ = ["WHOLE", "Done", "Share", "Work", "over_shards", "parse_share"]

if TYPE_CHECKING:
    from prefect import Task

    ShardTask = Task[[str, Layout, Params, Callable[[int], None]], Path]


class Share(NamedTuple):
    """Which shards are this process's: every `of`-th, beginning with number `first`."""

    first: int = 0
    of: int = 1

    def names(self, every: Sequence[str]) -> list[str]:
        return list(every[self.first :: self.of])


class Done(NamedTuple):
    """The shards' names, and what was to do."""

    names: list[str]
    work: Work


WHOLE = Share()


def parse_share(text: str) -> Share:
    """ "1/4" -> the second of four shares. Raises ParamsError."""
    index, _, of = text.partition("/")
    if not (index.isdecimal() and of.isdecimal() and int(index) < int(of)):
        raise ParamsError(f"--shards {text!r}: expected I/N with 0 <= I < N, such as 0/4 for the first of four")
    return Share(int(index), int(of))


def over_shards(
    stage: str, shard_task: ShardTask, layout: Layout, params: Params, share: Share, *,
    size: Callable[[str], int], unit: str,
) -> Done:  # fmt: skip
    """Run a shard task on each shard of the share; show progress and counts.

    `size`: how many `unit` a shard holds. What a larger earlier run left in the output folder is removed.
    """
    every = shard_names(layout.images)
    sizes = {name: size(name) for name in share.names(every)}
    marks = {name: made_mark(layout.cache, stage, name) for name in sizes}
    for mark in marks.values():
        mark.unlink(missing_ok=True)
    with record_work(stage, layout), screen.progress(stage, sum(sizes.values()), unit) as advance:
        outs = _run_tasks(shard_task, sizes, layout, params, advance)
    if outs:
        prune_shards(outs[0].parent, [Path(name) for name in every])
    sidecars = [read_sidecar(out) for out in outs]
    screen.say(screen.count_line(stage, sidecars))
    count_artifact(stage, list(sizes), sidecars)
    n_made = sum(sizes[name] for name, mark in marks.items() if mark.is_file())
    return Done(list(sizes), Work(unit, sum(sizes.values()) - n_made, n_made))


def _run_tasks(
    shard_task: ShardTask, sizes: Mapping[str, int], layout: Layout, params: Params, advance: Callable[[int], None]
) -> list[Path]:
    """The task's result for each shard, in order, whichever way params.runner has them run.

    Progress does not cross processes: with Ray it moves by whole shards. Raises the first error of a task;
    shards that had not begun by then do not begin.
    """
    with pool(params.runner) as runner:
        if runner is None:
            return [shard_task(name, layout, params, advance) for name in sizes]
        from prefect.futures import as_completed

        threads = params.runner.kind == "threads"
        progress = {"progress": advance} if threads else {}
        futures = {
            runner.submit(shard_task, {"name": name, "layout": layout, "params": params, **progress}): n
            for name, n in sizes.items()
        }
        for future in as_completed(list(futures)):
            future.result()
            if not threads:
                advance(futures[future])
        return [future.result() for future in futures]
