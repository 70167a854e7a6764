"""The folder of everything that goes wrong (perf/hostile.py): every file meets the end that is written beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ouro.core.artifacts import read_sidecar
from ouro.core.params import Ingest
from ouro.ingest.collection import find_images, ingest_files
from perf import hostile


def test_every_hostile_file_meets_its_end_and_none_disappears(tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    cases = hostile.build(folder)
    shards = ingest_files(find_images(folder), folder, tmp_path / "images", Ingest(max_pixels=hostile.MAX_PIXELS))
    ends = {name: end for name, (end, _) in hostile.outcome(tmp_path / "images", shards).items()}
    assert ends == {name: case.end for name, case in cases.items() if case.end}
    assert sum(read_sidecar(s).n_in for s in shards) == len(ends)


def test_the_bench_fails_when_a_file_meets_another_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = hostile.Case(b"ordinary.png", hostile.encoded(hostile.photo(1)), "truncated", "an ordinary PNG")
    monkeypatch.setattr(hostile, "cases", lambda: [wrong])
    monkeypatch.setattr(sys, "argv", ["hostile.py"])
    assert hostile.main() == 1
    assert "stored (expected truncated)" in capsys.readouterr().out
