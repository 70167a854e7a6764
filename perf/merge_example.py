"""The example of docs/merging.md: `uv run --with scikit-image python perf/merge_example.py 01 --picture FILE`

Prints a labelled tree of tests/data/realtext as it goes through merging: the regions with what each description says
and the phrase of its parent that means it, the conflicts, the outline, and what the guard leaves of two rewritings, a
careful and a careless one (merges.json). With --picture it draws the regions on the photograph, which comes with
scikit-image, scikit-learn or matplotlib.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

sys.path.append(str(Path(__file__).parent.parent))  # run as a script, it sees perf's folder alone
from ouro.core.params import Merge
from ouro.vision.protocols import Request
from ouro.vision.scripted import ScriptedVLM
from perf.realtext import CASES, Case, load_cases, load_merges, scene_of

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the example; draw it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", help="how the case's name begins")
    parser.add_argument("--picture", type=Path, help="the picture with its regions is written there")
    args = parser.parse_args(argv)
    case = next((case for case in load_cases(CASES) if case.name.startswith(args.case)), None)
    if case is None:
        parser.error(f"no case of {CASES} begins with {args.case!r}")
    if args.picture:
        draw(case).save(args.picture, quality=85)
    print_case(case)
    return 0


def print_case(case: Case) -> None:
    """The tree, its outline, and its rewritings."""
    outline = scene_of(case, Merge(writer="outline", max_tokens=1024))
    for description in case.descriptions:
        path = description.region_id.rpartition("/")[2]
        phrases = [
            f'"{case.texts[match.parent_id][match.start : match.end]}"'
            for match in outline.matches
            if match.region_id == description.region_id
        ]
        meant = f", meant by {' and '.join(phrases)}" if phrases else ""
        indent = "  " * path.count(".")
        print(f"{indent}{path} {description.name}{meant}\n{indent}  {' '.join(description.text.split())}")
    for conflict in outline.conflicts:
        outcome = f"{conflict.kept!r} by {conflict.rule}" if conflict.rule else "open"
        print(f"conflict, {conflict.about}: {' or '.join(conflict.values)}: {outcome}")
    print(f"\noutline: {outline.text}")
    merges = load_merges(CASES)[case.name]
    for name, text in (("careful", merges["good_merge"]), ("careless", merges["bad_merges"][0]["text"])):
        scene = scene_of(case, Merge(writer="vlm", max_tokens=1024), ScriptedVLM(_once(text)))
        print(f"\n{name} writer: {text}\n  kept: {scene.text}")
        for decision in scene.decisions:
            if decision.rule == "not_borne_out":
                print(f"  struck: {decision.text}")


def _once(text: str) -> Callable[[Request], str]:
    """A writer of one description, who gives nothing when asked again."""
    return lambda request: "" if "first attempt" in request.prompt else text


def draw(case: Case) -> PILImage.Image:
    """The photograph with each region's box and path."""
    spec = find_spec(Path(case.labels["image"]).parts[0])
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the picture of {case.name} comes with {case.labels['package']}, which is not installed here")
    folder = Path(spec.submodule_search_locations[0]).parent
    picture = PILImage.open(folder / case.labels["image"]).convert("RGB")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(18)
    for colour, region in zip(COLOURS, case.regions[1:], strict=False):
        x0, y0, x1, y1 = region.box
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=3)
        label = region.region_id.rpartition("/")[2]
        pen.rectangle(pen.textbbox((x0 + 6, y0 + 4), label, font=font), fill=colour)
        pen.text((x0 + 6, y0 + 4), label, fill="white", font=font)
    return picture


if __name__ == "__main__":
    sys.exit(main())
