"""Real photographs and pages to a dataset and a gallery, offline: `uv run python perf/photographs.py`.

Copies the pictures that scikit-image, scikit-learn and matplotlib carry into a folder, runs `ouro annotate` on it
with profiles/photographs.yaml (selective search, PaddleOCR, nano) and `ouro inspect` on the result, and says, picture
by picture, what was found. Exit code 1 when the text of the scanned page is not quoted in its description. With
--screenshot FILE the scanned page's view of the gallery is photographed with a Chromium that is installed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from ouro.core.artifacts import read_all
from ouro.core.records import Image, QAPair, Region, Scene

PICTURES = {
    "skimage": [
        "data/astronaut.png", "data/coffee.png", "data/chelsea.png", "data/rocket.jpg", "data/motorcycle_left.png",
        "data/coins.png", "data/page.png", "data/text.png",
    ],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg", "mpl-data/sample_data/Minduka_Present_Blue_Pack.png"],
}  # fmt: skip
PAGE, PAGE_SAYS = "page.png", "Region-based segmentation"


def collect(folder: Path) -> None:
    """Copy the pictures; their licences are those of the libraries."""
    from importlib.util import find_spec

    folder.mkdir(parents=True, exist_ok=True)
    for package, names in PICTURES.items():
        spec = find_spec(package)
        assert spec and spec.submodule_search_locations, f"{package}: run `uv sync`"
        for name in names:
            shutil.copyfile(Path(spec.submodule_search_locations[0], name), folder / Path(name).name)


def ouro(*arguments: str) -> None:
    """Run the command line as a person would."""
    subprocess.run([sys.executable, "-m", "cli.app", *arguments], check=True)


def account(out: Path) -> str:
    """A Markdown table of what was found; the description of the page is returned."""
    regions, scenes = read_all(out / "regions", Region), read_all(out / "scenes", Scene)
    scenes_by_id = {s.image_id: s for s in scenes}
    pairs = Counter(p.image_id for p in read_all(out / "qa", QAPair))
    page = ""
    print("| picture | pixels | regions by source | kinds | words read by OCR | sentences | pairs |\n|" + "---|" * 7)
    for image in sorted(read_all(out / "images", Image), key=lambda i: i.source):
        image_regions = [r for r in regions if r.image_id == image.image_id and r.parent_id]
        scene = scenes_by_id.get(image.image_id)
        cells = [
            image.source, f"{image.width} x {image.height}", _counts(r.source for r in image_regions),
            _counts(r.kind for r in image_regions), sum(len(r.text.split()) for r in image_regions),
            len(scene.sentences) if scene else "none", pairs[image.image_id],
        ]  # fmt: skip
        print("| " + " | ".join(map(str, cells)) + " |")
        if image.source == PAGE and scene:
            page = scene.text
    return page


def _counts(values: object) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(Counter(values).items())) or "none"  # type: ignore[call-overload]


def screenshot(gallery: Path, source: str, target: Path) -> None:
    """The gallery's view of one picture, a region lit up."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = opened.new_page(viewport={"width": 1280, "height": 860})
        page.goto((gallery / "index.html").resolve().as_uri())
        page.get_by_text(source, exact=True).first.click()
        page.locator("svg rect.box[role=button]").last.hover(force=True)
        page.screenshot(path=str(target))
        opened.close()


def main() -> int:
    """Collect, annotate, inspect, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/photographs"))
    parser.add_argument("--screenshot", type=Path)
    args = parser.parse_args()
    folder, out = args.work / "pictures", args.work / "dataset"
    collect(folder)
    ouro("annotate", str(folder), "--out", str(out), "--profile", "photographs")
    ouro("inspect", str(out))
    page = account(out)
    read = re.search(rf'"[^"]*{re.escape(PAGE_SAYS)}[^"]*"', page) is not None
    print(f"\n{PAGE}: {page[:600]}\n\nthe page's heading is quoted in its description: {read}")
    if args.screenshot:
        screenshot(out / "gallery", PAGE, args.screenshot)
    print(json.dumps({"images": len(list(folder.iterdir())), "page_quoted": read}))
    return 0 if read else 1


if __name__ == "__main__":
    raise SystemExit(main())
