"""Ask a benchmark in a process that is killed in the middle: `python killed_benchmark.py FOLDER BATCHES`."""

from __future__ import annotations

import sys
from pathlib import Path

from asked import Logging

from ouro.benchmarks.items import HELD_OUT
from ouro.benchmarks.scored import Score
from ouro.core.layout import Layout
from ouro.core.params import Params, load_params
from tasks import asking, benchmark_sources

ROOT = Path(__file__).resolve().parents[2]


def benchmark_params(*overrides: str) -> Params:
    return load_params(ROOT / "params.yaml", (f"model.base={ROOT / 'models/nano'}", "benchmark.k=0", *overrides))


def ask_logging(root: Path, batches: int | None = None) -> Score:
    """Ask in batches of 7 about the collection in `root`, every request into log.txt; killed in the batch after
    `batches`."""
    layout = Layout(root / "data", root / ".ouro/cache")
    model = Logging(root / "log.txt", 7, batches)
    asking.annotator = lambda *_: model  # type: ignore[assignment]
    settings = benchmark_params("benchmark.bootstrap_samples=200")
    score = asking.run_benchmark(
        benchmark_sources.source_of(HELD_OUT, settings, layout=layout), settings, root / "run", k=0, limit=0,
        protocol="", controls=True, cache=root / "replies", adapter=None,
    )  # fmt: skip
    assert score
    return score


if __name__ == "__main__":
    ask_logging(Path(sys.argv[1]), int(sys.argv[2]))
