"""Does memory grow with the collection, and how fast is all but the models? `uv run python perf/scale.py`

Makes collections of N distinct pictures of 32 x 32 pixels and runs each, in a process of its own, through the real
stage flows and tasks (ingest, propose, describe, merge, synthesize) against a real Prefect server, which lies in
another process and is not measured. Named baseline: the smallest N; wanted: peak memory at the largest at most 1.2
times that.

Only the models are stand-ins: the functions by which tasks load them (`annotator`, `fingerprint`, `proposers`) are
replaced in the measuring process, by a ScriptedVLM and a proposer that halves every picture. What is measured is
therefore everything around the models.

    uv run python perf/scale.py                    10,000 and 100,000
    uv run python perf/scale.py 2000 10000         and what 100,000 would take at that rate
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from ouro.core.layout import Layout
from ouro.core.params import Ingest, Params, Propose, Synthesize
from ouro.vision.protocols import OnReplies, Proposal, Request
from ouro.vision.scripted import ScriptedVLM

SIDE, FOLDER = 32, 1000  # pixels; files a folder
FULL = 100_000
COLORS, SHAPES = ("red", "blue", "green", "black", "white"), ("cup", "ball", "book", "lamp", "box")
THINGS = [(color, shape) for color in COLORS for shape in SHAPES]
PARAMS = Params(
    ingest=Ingest(),
    propose=Propose(proposers=("rpn",), max_depth=1),
    synthesize=Synthesize(writer="vlm", template="instructed"),
)


class Halves:
    """A proposer that finds the left and the right half of every picture."""

    name = "rpn"

    def propose(self, images: Sequence[PILImage.Image]) -> list[list[Proposal]]:
        return [
            [
                Proposal((0.0, 0.0, i.width / 2, float(i.height)), 0.9, "rpn"),
                Proposal((i.width / 2, 0.0, float(i.width), float(i.height)), 0.8, "rpn"),
            ]
            for i in images
        ]


class Forgetful(ScriptedVLM):
    """A ScriptedVLM that counts what it was asked instead of keeping it."""

    n = 0

    def generate(
        self,
        requests: Sequence[Request],
        *,
        max_new_tokens: int,
        progress: Callable[[int], None] | None = None,
        on_replies: OnReplies | None = None,
    ) -> list[str]:
        replies = super().generate(requests, max_new_tokens=max_new_tokens, progress=progress, on_replies=on_replies)
        self.n += len(requests)
        self.asked.clear()
        return replies


def reply(request: Request) -> str:
    """Names a thing by the first pixel; asked for questions, two about that thing."""
    r, g, b = request.images[0].crop((0, 0, 1, 1)).tobytes()
    color, shape = THINGS[(r + g + b) % len(THINGS)]
    if "question" not in request.prompt.lower():
        return f"a {color} {shape} beside a table."
    return f"Q: What is beside the table?\nA: a {color} {shape}\nQ: What color is the {shape}?\nA: {color}"


def inject() -> Forgetful:
    """Put the stand-ins where the tasks look for their models."""
    import tasks.describe
    import tasks.propose
    import tasks.synthesize

    vlm = Forgetful(reply)
    stand_ins: dict[Any, dict[str, Any]] = {
        tasks.propose: {"proposers": (Halves(),)},
        tasks.describe: {"annotator": vlm, "fingerprint": vlm.fingerprint},
        tasks.synthesize: {"annotator": vlm, "fingerprint": vlm.fingerprint},
    }
    for module, names in stand_ins.items():
        for name, value in names.items():
            getattr(module, name)  # AttributeError when the task has come to load its model in another way
            setattr(module, name, lambda *_, _value=value, **__: _value)
    return vlm


def make_collection(folder: Path, n: int) -> None:
    """`n` pictures of noise, each another."""
    for i in range(n):
        place = folder / f"{i // FOLDER:03d}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        PILImage.fromarray(pixels).save(place / f"{i:06d}.png", compress_level=1)


def peak_mb() -> float:
    """The most memory that this process has held since the last call."""
    status = Path("/proc/self/status").read_text()
    peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    return peak / 1024


def measure(collection: Path, out: Path, n: int) -> dict[str, dict[str, float]]:
    """Stage -> seconds and peak memory of one run over the whole collection."""
    from flows.describe import describe
    from flows.ingest import ingest
    from flows.merge import merge
    from flows.propose import propose
    from flows.synthesize import synthesize
    from ouro.core.artifacts import list_shards, read_sidecar

    vlm = inject()
    layout = Layout(out, out / ".ouro/cache")
    params = PARAMS.model_copy(update={"ingest": Ingest(source=str(collection))})
    measurements: dict[str, dict[str, float]] = {"start": {"seconds": 0.0, "mb": peak_mb()}}
    for stage in (ingest, propose, describe, merge, synthesize):
        started = time.monotonic()
        stage(params, layout)
        measurements[stage.name] = {"seconds": time.monotonic() - started, "mb": peak_mb()}
    folders = (layout.images, layout.scenes, layout.qa)
    n_out = {f.name: sum(read_sidecar(s).n_out for s in list_shards(f)) for f in folders}
    if n_out["images"] != n or n_out["scenes"] != n or not n_out["qa"] or not vlm.n:
        raise SystemExit(f"got {n_out} and {vlm.n} requests; expected {n} images and scenes, and some pairs")
    return measurements


def run(n: int, root: Path) -> dict[str, dict[str, float]]:
    """Measure a collection of `n` in a process of its own."""
    started = time.monotonic()
    make_collection(root / f"{n}/collection", n)
    print(f"{n} pictures made in {time.monotonic() - started:.0f} s", flush=True)
    command = [sys.executable, __file__, "--measure", str(root / f"{n}"), str(n)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def show(sizes: Sequence[int], runs: Sequence[dict[str, dict[str, float]]]) -> None:
    """A table, the ratio of the peaks, and what the full size would take."""
    print(f"{'stage':<12}" + "".join(f"{n:>12} images/s  peak MB" for n in sizes))
    for stage in runs[0]:
        cells = (f"{n / run[stage]['seconds'] if run[stage]['seconds'] else 0:>21.1f}  {run[stage]['mb']:>7.0f}"
                 for n, run in zip(sizes, runs, strict=True))  # fmt: skip
        print(f"{stage:<12}" + "".join(cells))
    peaks = [max(stage["mb"] for stage in run.values()) for run in runs]
    seconds = [sum(stage["seconds"] for stage in run.values()) for run in runs]
    for n, mb, s in zip(sizes, peaks, seconds, strict=True):
        print(f"{n}: {s:.0f} s, {n / s:.1f} images/s over all stages, peak {mb:.0f} MB")
    print(f"peak memory, {sizes[-1]} to {sizes[0]}: {peaks[-1] / peaks[0]:.3f} (wanted: at most 1.2)")
    if sizes[-1] < FULL:
        print(f"at the rate of the last, {FULL} would take {FULL * seconds[-1] / sizes[-1] / 60:.0f} minutes")


def main() -> None:
    """Measure and print; exit code 1 when memory grew by more than a fifth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=[10_000, FULL])
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        folder, n = Path(arguments.measure[0]), int(arguments.measure[1])
        print(json.dumps(measure(folder / "collection", folder / "out", n)))
        return
    from ouro.core.state import state_of
    from tasks.processes.prefect_server import prefect_server

    sizes = sorted(arguments.sizes)
    with tempfile.TemporaryDirectory() as folder, prefect_server(state_of(Path(folder))):
        runs = [run(n, Path(folder)) for n in sizes]
    show(sizes, runs)
    peaks = [max(stage["mb"] for stage in row.values()) for row in runs]
    sys.exit(peaks[-1] > 1.2 * peaks[0])


if __name__ == "__main__":
    main()
