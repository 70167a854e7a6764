"""Progress as lines in a log file: the pace of the last minutes, the time that is left, nothing lost to threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks import screen


class Clock:
    """Stands in for time.monotonic; moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fixed_clock = Clock()
    monkeypatch.setattr("tasks.screen.time.monotonic", fixed_clock)
    return fixed_clock


def test_what_was_restored_at_once_does_not_shorten_the_remaining_time(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """900 of 1000 units came from the cache in no time; each of the others takes 10 s."""
    with screen.progress("describe", 1000, "regions") as advance:
        advance(900)
        for _ in range(40):
            clock.now += 10.0
            advance(1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "describe: 940/1000 regions, 6.0/min, 0:10:00 left"
    assert lines[-1] == "describe: 940 regions in 400.0 s"


def test_days_are_told_as_days(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with screen.progress("describe", 1_000_020, "regions") as advance:
        clock.now += 20.0
        advance(20)
    assert "1.0/s, 11 days, 13:46:40 left" in capsys.readouterr().out


def test_a_total_that_nobody_knows_is_not_shown(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with screen.progress("ingest", 0, "files") as advance:
        clock.now += 20.0
        advance(40)
    assert capsys.readouterr().out.splitlines() == ["ingest: 40 files, 2.0/s", "ingest: 40 files in 20.0 s"]


def test_threads_lose_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with screen.progress("merge", 0, "images") as advance, ThreadPoolExecutor(8) as pool:
        list(pool.map(advance, [1] * 20_000))
    assert capsys.readouterr().out.startswith("merge: 20000 images in ")
