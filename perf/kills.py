"""What does kill -9 cost `ouro annotate`? `uv run python perf/kills.py [--kills 10] [--images 60] [--seed 0]`

Draws a folder of nano scenes and annotates it twice with the shipped models: once undisturbed, and once killed at ten
moments (SIGKILL to the whole process group, workers too), each time started again, until it ends. A moment is a
time of the undisturbed run, drawn evenly by a seeded generator: so many shards finished, and so many seconds after
that. The Prefect server survives, as it does when a person's machine kills `ouro`; the last start stops it.

Named baseline: the undisturbed run. Wanted: the same files, byte for byte; and by each kill no more than the shard
in progress lost, so that of the shards that were finished at most that one is made again (killed between its last
file and its cache entry). Ingest is counted apart: it is one task, and a kill inside repeats it.

Known debt, within "the shard in progress": what was described of it is described again.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

from ouro.core.state import state_of
from ouro.nano.scenes import draw_scene, render
from tasks.processes.prefect_server import started_earlier, stop

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("images", "regions", "descriptions", "scenes", "qa")
SHARD = 10  # images
BEGUN = b"Prefect: "  # what a start says when it begins to work


class Moment(NamedTuple):
    """A time of a run: when `shards` are finished, `after` seconds later."""

    shards: int
    after: float


@dataclass
class Kill:
    """`finished`: sidecar -> when it was written, at the kill; `lost`: seconds of work since the last of them;
    `again`: those of them that the next start wrote anew."""

    finished: dict[str, int]
    lost: float
    rewritten: tuple[str, ...] = ()

    @property
    def stages(self) -> int:
        """Finished shards of all stages but ingest that were made again."""
        return sum(not name.startswith("images/") for name in self.rewritten)


def draw(folder: Path, n: int, seed: int) -> None:
    """`n` scenes of the nano world."""
    folder.mkdir()
    for i in range(n):
        pixels = render(draw_scene(np.random.default_rng([seed, i])))
        PILImage.fromarray(pixels).save(folder / f"{i:03d}.png")


class Start:
    """`ouro annotate photos --out OUT` in a process group of its own."""

    def __init__(self, place: Path, out: str) -> None:
        self.out, self.log = place / out, place / f"{out}.log"
        self._said_before = self.log.stat().st_size if self.log.is_file() else 0
        settings = (f"ingest.shard_images={SHARD}", "propose.proposers=[rpn]")
        options = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "cli.app", "annotate", "photos", "--out", out, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=place, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.begun = 0.0

    def begin(self) -> bool:
        """Wait until it begins to work; False when it has ended before."""
        while self.process.poll() is None:
            if BEGUN in self.log.read_bytes()[self._said_before :]:
                self.begun = time.time()
                return True
            time.sleep(0.05)
        return False

    def kill_at(self, moment: Moment) -> Kill | None:
        """Kill it then; None when it ends before."""
        reached = None
        while self.process.poll() is None:
            if reached is None and len(sidecars(self.out)) >= moment.shards:
                reached = time.time()
            if reached is not None and time.time() >= reached + moment.after:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                finished = sidecars(self.out)
                return Kill(finished, time.time() - max(self.begun, *(t / 1e9 for t in finished.values()), 0.0))
            time.sleep(0.01)
        return None

    def end(self) -> None:
        """Let it run to its end. Raises SystemExit with its last words when that is an error."""
        if self.process.wait() != 0:
            raise SystemExit(f"exit code {self.process.returncode}:\n{self.log.read_text()[-3000:]}")


def sidecars(out: Path) -> dict[str, int]:
    """Sidecar -> when it was written, in nanoseconds: written last, it is the sign of a finished shard."""
    times: dict[str, int] = {}
    for path in (path for stage in STAGES for path in (out / stage).glob("shard-*.json")):
        try:
            times[str(path.relative_to(out))] = path.stat().st_mtime_ns
        except FileNotFoundError:  # it is being written anew
            continue
    return times


def moments(finished: Sequence[float], kills: int, rng: random.Random) -> list[Moment]:
    """Times of a run in order. `finished`: seconds after its beginning at which its shards were finished, in order."""
    drawn = sorted(rng.uniform(0.0, finished[-1]) for _ in range(kills))
    done = [sum(f <= t for f in finished) for t in drawn]
    return [Moment(n, t - (finished[n - 1] if n else 0.0)) for n, t in zip(done, drawn, strict=True)]


def undisturbed(place: Path) -> list[float]:
    """Seconds after its beginning at which each shard was finished, in order."""
    run = Start(place, "whole")
    run.begin()
    run.end()
    return sorted(t / 1e9 - run.begun for t in sidecars(run.out).values())


def killed(place: Path, when: Sequence[Moment]) -> list[Kill]:
    """Kill a run at each moment and start it again; at last it runs to its end."""
    kills: list[Kill] = []
    for moment in [*when, None]:
        run = Start(place, "killed")
        kill = run.kill_at(moment) if run.begin() and moment else None
        if kill is None:
            run.end()
        now = sidecars(run.out)
        for earlier in kills:
            changed = [name for name, t in earlier.finished.items() if now.get(name, t) != t]
            earlier.rewritten = tuple(sorted({*earlier.rewritten, *changed}))
            earlier.finished = {name: t for name, t in earlier.finished.items() if name not in changed}
        kills += [kill] if kill else []
        if kill:
            print(f"killed with {len(kill.finished)} shards finished, {kill.lost:.1f} s after the last", flush=True)
    return kills


def differences(one: Path, other: Path) -> list[str]:
    """Files that only one of two results has, or that differ in a byte."""
    files = [{p.relative_to(d) for s in STAGES for p in (d / s).rglob("*") if p.is_file()} for d in (one, other)]
    odd = files[0] ^ files[1]
    odd |= {p for p in files[0] & files[1] if (one / p).read_bytes() != (other / p).read_bytes()}
    return sorted(map(str, odd))


def main() -> None:
    """Measure and print; exit code 1 when something wanted does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "models").symlink_to(ROOT / "models")
        shutil.copy(ROOT / "params.yaml", place)
        draw(place / "photos", arguments.images, arguments.seed)
        try:
            finished = undisturbed(place)
            print(f"undisturbed: {len(finished)} shards in {finished[-1]:.0f} s", flush=True)
            kills = killed(place, moments(finished, arguments.kills, random.Random(arguments.seed)))
        finally:
            if server := started_earlier(state_of(place)):
                stop(server, state_of(place))
        odd = differences(place / "whole", place / "killed")
        n_files = sum(p.is_file() for s in STAGES for p in (place / "whole" / s).rglob("*"))
    longest = max(b - a for a, b in zip([0.0, *finished], finished, strict=False))
    print(f"{len(kills)} kills; files that differ from the undisturbed run's: {len(odd)} of {n_files} {odd[:5]}")
    print(f"finished shards made again, by kill: {[k.stages for k in kills]} (wanted: at most 1 each)")
    print(f"of ingest, counted apart: {[len(k.rewritten) - k.stages for k in kills]}")
    print(f"seconds lost, by kill: {[round(k.lost, 1) for k in kills]}; longest shard undisturbed: {longest:.1f} s")
    print(f"took {time.monotonic() - began:.0f} s")
    sys.exit(bool(odd) or len(kills) < arguments.kills or any(k.stages > 1 for k in kills))


if __name__ == "__main__":
    main()
