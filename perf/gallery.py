"""How the gallery grows: `uv run python perf/gallery.py [N]` (5,000 images unless told otherwise).

Writes two datasets of small images, N // 5 and N, with regions, descriptions, scenes, pairs and dropped candidates,
makes the gallery of each in a process of its own, and prints images/s, peak memory (the named baseline is the
fifth: what does not grow with the collection has a ratio near 1), the number of files and the largest of each
kind. With a Chromium installed it also opens the larger gallery and times first page, search and a filter.
"""

from __future__ import annotations

import hashlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from ouro.core.artifacts import write_shard
from ouro.core.images import encode_png
from ouro.core.layout import Layout, layout_of
from ouro.core.records import Description, Image, Insertion, QAPair, Region, Rejected, Scene, Sentence
from ouro.pages.gallery import write_gallery

SHARD, REGIONS, PAIRS, DROPPED, SIDE = 100, 12, 15, 60, 384


def write_dataset(root: Path, n: int) -> None:
    """`n` images of noise in shards of SHARD, each with as many records as a busy photograph."""
    folders, rng = layout_of(root), np.random.default_rng(0)
    for start in range(0, n, SHARD):
        name = f"shard-{start // SHARD:05d}"
        numbers = range(start, min(n, start + SHARD))
        ids = [hashlib.sha256(str(k).encode()).hexdigest()[:16] for k in numbers]
        (folders.images / name).mkdir(parents=True)
        for image_id in ids:
            tile = rng.integers(0, 255, (SIDE // 16, SIDE // 16, 3), dtype=np.uint8)
            picture = PILImage.fromarray(tile).resize((SIDE, SIDE))
            (folders.images / name / f"{image_id}.png").write_bytes(encode_png(picture))
        write_records(folders, name, ids)


def write_records(folders: Layout, name: str, ids: list[str]) -> None:
    """One shard of every stage."""
    file = f"{name}.parquet"
    images = [Image(i, f"{name}/{i}.png", SIDE, SIDE, f"photos/{i}.jpg") for i in ids]
    regions = [region(i, k) for i in ids for k in range(REGIONS)]
    descriptions = [
        Description(r.region_id, r.image_id, f"a thing of kind {r.region_id[-4:]} " * 4, "m") for r in regions
    ]
    dropped = [
        Rejected("propose", f"{i}/0", ("nms", "low_score", "too_small")[k % 3], f"rpn score 0.1 box {k} {k} 90 90")
        for i in ids for k in range(DROPPED)
    ]  # fmt: skip
    pairs = [
        QAPair(f"{i}{k}", i, f"aspect {k % 5}", f"what is thing {k}?", f"red {k}") for i in ids for k in range(PAIRS)
    ]
    scenes = [scene(i) for i in ids]
    write_shard(folders.images / file, Image, images, n_in=len(images))
    write_shard(folders.regions / file, Region, regions, n_in=len(regions) + len(dropped), rejected=dropped)
    write_shard(folders.descriptions / file, Description, descriptions, n_in=len(descriptions))
    write_shard(folders.scenes / file, Scene, scenes, n_in=len(scenes))
    write_shard(folders.qa / file, QAPair, pairs, n_in=len(pairs))


def region(image_id: str, k: int) -> Region:
    """The whole image, then parts of it."""
    if k == 0:
        return Region(f"{image_id}/0", image_id, None, 0, (0, 0, SIDE, SIDE), 1.0, "image", kind="scene")
    box = (10.0 * k, 12.0 * k, 10.0 * k + 60, 12.0 * k + 60)
    source, text = ("ocr", f"word {k}") if k % 4 == 0 else ("rpn", "")
    return Region(f"{image_id}/0.{k}", image_id, f"{image_id}/0", 1, box, 0.5, source, text)


def scene(image_id: str) -> Scene:
    """One sentence a region."""
    sentence = "there is a rather red thing of some kind in the middle of it. "
    spans = [(len(sentence) * k, len(sentence) * (k + 1) - 1, f"{image_id}/0.{k + 1}") for k in range(REGIONS - 1)]
    return Scene(
        image_id, sentence * (REGIONS - 1),
        tuple(Insertion(a + 9, b, r) for a, b, r in spans), (), tuple(Sentence(a, b, (r,)) for a, b, r in spans),
    )  # fmt: skip


def build(root: Path) -> None:
    """Make one gallery and print "seconds peak-MiB CPU-seconds"; runs in a process of its own."""
    started = time.monotonic()
    write_gallery(layout_of(root), root / "gallery", title="bench", round_="1")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(time.monotonic() - started, peak, time.process_time())


def measure(root: Path) -> tuple[float, float, float]:
    """Seconds, peak MiB and CPU seconds of a build; on a shared machine only the last tells of the program."""
    command = [sys.executable, __file__, "--build", str(root)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(out[0]), float(out[1]), float(out[2])


def sizes(folder: Path) -> None:
    """Number and largest size of every kind of file."""
    kinds = {
        "pages": "*.html",
        "overview": "data/page-*.js",
        "images": "data/images-*.js",
        "manifest": "data/manifest.js",
    }
    for kind, pattern in {**kinds, "pictures": "pictures/*/*"}.items():
        n_bytes = [p.stat().st_size for p in folder.glob(pattern)]
        print(
            f"  {kind}: {len(n_bytes)} files, largest {max(n_bytes) / 1024:.0f} KiB, all {sum(n_bytes) / 2**20:.1f} MiB"
        )


def browse(folder: Path, n: int) -> None:
    """Seconds until the first page stands, a search has looked through everything, and a filter has."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        print("  no Chromium: not opened")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        started = time.monotonic()
        page.goto((folder / "index.html").as_uri())
        page.wait_for_selector(".thumb")
        print(f"  first page: {time.monotonic() - started:.2f} s")
        started = time.monotonic()
        page.fill("#search", "nothing has this word")
        page.wait_for_selector(f"#status:has-text('0 found in {n:,} of {n:,} images')")
        print(f"  search through all: {time.monotonic() - started:.2f} s")
        page.fill("#search", "")
        page.wait_for_selector(".thumb")
        page.eval_on_selector("#filters", "d => { d.open = true }")
        started = time.monotonic()
        page.click(".group.source .chip:has-text('ocr')")
        page.wait_for_selector(f"#status:has-text('{n:,} found in {n:,} of {n:,} images')")
        heap = page.evaluate("performance.memory.usedJSHeapSize / 2**20")
        print(f"  filter over all: {time.monotonic() - started:.2f} s; JavaScript heap {heap:.0f} MiB")
        browser.close()


def main(n: int) -> None:
    """Measure and print."""
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (n // 5, n):
            root = Path(folder) / str(count)
            write_dataset(root, count)
            seconds, peak, busy = measure(root)
            peaks.append(peak)
            rate = f"{count / seconds:.0f} images/s, {busy:.1f} CPU s"
            print(f"{count} images: {seconds:.1f} s, {rate}, peak {peak:.0f} MiB", flush=True)
            sizes(root / "gallery")
        print(f"peak memory, {n} against {n // 5}: {peaks[1] / peaks[0]:.3f}")
        browse(Path(folder) / str(n) / "gallery", n)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        build(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
