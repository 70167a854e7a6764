"""A folder of everything that goes wrong with image files, and what becomes of each: `uv run python perf/hostile.py`.

Builds the folder in a temporary place, takes it in, and prints a Markdown table, file by file. Exit code 1 when a
file met another end than the one written beside it here, or when in != out + rejected. tests/test_hostile.py runs
the same.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

from ouro.core.artifacts import read_all, read_shard, read_sidecar, rejected_path
from ouro.core.params import Ingest
from ouro.core.records import Image, Rejected
from ouro.ingest.collection import find_images, ingest_files

MAX_PIXELS = 2_000_000
STORED = "stored"


class Case(NamedTuple):
    """A file: its name in the folder (bytes, as file systems have it), its content, what must become of it."""

    name: bytes
    content: bytes
    end: str
    what: str


def photo(seed: int, size: tuple[int, int] = (96, 64)) -> PILImage.Image:
    """A smooth random picture, (width, height), as a camera would give it: unlike noise it survives JPEG."""
    rng = np.random.default_rng(seed)
    coarse = PILImage.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize(size, PILImage.Resampling.BICUBIC)


def encoded(picture: PILImage.Image, kind: str = "PNG", **options: object) -> bytes:
    """A picture as a file of a format."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _exif(orientation: int) -> bytes:
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _bomb() -> bytes:
    return encoded(PILImage.new("1", (60_000, 60_000)))


def _animation() -> bytes:
    frames = [photo(n) for n in (40, 41)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _deep() -> bytes:
    values = np.linspace(0, 65_535, 64 * 48).reshape(48, 64).astype(np.uint16)
    return encoded(PILImage.fromarray(values))


def _transparent() -> bytes:
    picture = photo(42).convert("RGBA")
    picture.putalpha(PILImage.linear_gradient("L").resize(picture.size))
    return encoded(picture)


def _named() -> list[Case]:
    names = [
        (b"new\nline.png", "a newline in its name"), (b"quote\"s 'n' `ticks`.png", "quotes in its name"),
        ("Grüße 日本 🐍.png".encode(), "Unicode in its name"), (b"--help.png", "a name like an option"),
        (b"$(touch pwned).png", "a name like a shell command"), (b"<script>alert(1)<.png", "markup in its name"),
        (b"latin1-\xe9.png", "a name that is no UTF-8"), (b"%2e%2e%2fetc.png", "an escaped ../ in its name"),
        (b"n" * 200 + b".png", "a very long name"), (b"trailing space .png ", "no ending"),
    ]  # fmt: skip
    return [Case(name, encoded(photo(100 + n)), STORED, what) for n, (name, what) in enumerate(names)]


def cases() -> list[Case]:
    """All files, in no particular order."""
    first, second = photo(1), photo(1)
    jpeg = encoded(photo(2, (320, 240)), "JPEG", quality=92)
    with PILImage.open(io.BytesIO(jpeg)) as opened:
        lossy = encoded(opened.convert("RGB"), "JPEG", quality=70)
    whole = encoded(photo(3))
    damaged = bytearray(encoded(photo(4), "JPEG", exif=_exif(6)))
    damaged[24:40] = b"\xff" * 16  # inside the EXIF segment
    other = encoded(photo(5), "JPEG")
    pictures = [
        Case(b"a-first.png", encoded(first), STORED, "an ordinary PNG"),
        Case(b"b-same-bytes.png", encoded(second), "duplicate", "byte for byte a-first.png"),
        Case(b"c-same-pixels.bmp", encoded(second, "BMP"), "duplicate", "the pixels of a-first.png in another format"),
        Case(b"d-photo.jpg", jpeg, STORED, "an ordinary JPEG"),
        Case(b"e-photo-again.jpg", lossy, "near_duplicate", "d-photo.jpg, saved again at quality 70"),
        Case(b"renamed.png", other, STORED, "a JPEG that is called PNG"),
        Case(b"text.png", b"this is no picture\n", "not_an_image", "a text that is called PNG"),
        Case(b"page.html", b"<html><img src=x onerror=alert(1)></html>", "not_an_image", "HTML"),
        Case(b"script.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image", "SVG"),
        Case(b"print.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "not_an_image", "PostScript, which is never run"),
        Case(b"empty.jpg", b"", "empty_file", "no bytes"),
        Case(b"half.png", whole[: len(whole) // 2], "truncated", "the first half of a PNG"),
        Case(b"half.jpg", jpeg[: len(jpeg) // 2], "truncated", "the first half of a JPEG"),
        Case(b"bomb.png", _bomb(), "too_many_pixels", "60,000 x 60,000 pixels in a small file"),
        Case(b"huge.png", encoded(PILImage.new("RGB", (2000, 1500), "red")), "too_many_pixels", "over max_pixels"),
        Case(b"tiny.png", encoded(photo(6, (4, 4))), "too_small", "4 x 4 pixels"),
        Case(b"line.png", encoded(photo(7, (1, 300))), "too_small", "one pixel wide"),
        Case(b"thin.png", encoded(photo(8, (2400, 8))), "too_thin", "300 times as wide as high"),
        Case(b"animated.gif", _animation(), STORED, "two frames: the first is taken"),
        Case(b"transparent.png", _transparent(), STORED, "transparent parts: over white"),
        Case(b"deep.png", _deep(), STORED, "16-bit grey: scaled to 8"),
        Case(b"cmyk.jpg", encoded(photo(9).convert("CMYK"), "JPEG"), STORED, "CMYK: converted"),
        Case(b"turned.jpg", encoded(photo(10), "JPEG", exif=_exif(6)), STORED, "EXIF says: turn it; turned"),
        Case(b"bad-exif.jpg", bytes(damaged), STORED, "damaged EXIF: taken as it lies"),
        Case(b".hidden.png", encoded(photo(11)), "", "a hidden file: left out"),
    ]  # fmt: skip
    return [*pictures, *_named()]


def build(folder: Path) -> dict[str, Case]:
    """Write the folder, with links and a folder in it; source name (as ingest records it) -> case."""
    case_list = cases()
    for case in case_list:
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + case.name))).write_bytes(case.content)
    outside = folder.parent / "outside.png"
    outside.write_bytes(encoded(photo(50)))
    (folder / "link-out.png").symlink_to(outside)
    (folder / "link-broken.png").symlink_to(folder / "nowhere.png")
    (folder / "link-folder").symlink_to(folder.parent)
    (folder / "folder.png").mkdir()
    (folder / "folder.png" / "inside.png").write_bytes(encoded(photo(51)))
    case_list += [
        Case(b"link-out.png", b"", "outside_folder", "a link that leads out of the folder"),
        Case(b"link-broken.png", b"", "unreadable", "a link to nothing"),
        Case(b"link-folder", b"", "outside_folder", "a link to the folder above"),
        Case(b"folder.png/inside.png", b"", STORED, "in a folder that is called folder.png"),
    ]
    return {case.name.decode("utf-8", "backslashreplace"): case for case in case_list}


def outcome(images: Path, shards: list[Path]) -> dict[str, tuple[str, str]]:
    """Source -> (what became of it, detail)."""
    ends = {i.source: (STORED, f"{i.width} x {i.height}, {i.image_id}") for i in read_all(images, Image)}
    for shard in shards:
        if rejected_path(shard).is_file():
            ends |= {r.record_id: (r.reason, r.detail) for r in read_shard(rejected_path(shard), Rejected)}
    return ends


def main(show: Callable[[str], object] = print) -> int:
    """Build, take in, compare, print; the number of files with another end than expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch, "hostile"), Path(scratch, "images")
        folder.mkdir()
        cases_by_name = build(folder)
        shards = ingest_files(find_images(folder), folder, out, Ingest(max_pixels=MAX_PIXELS))
        ends = outcome(out, shards)
        n_in = sum(read_sidecar(s).n_in for s in shards)
    wrong = 0 if n_in == len(ends) == sum(bool(c.end) for c in cases_by_name.values()) else 1
    show("| file | what it is | what became of it | detail |\n|---|---|---|---|")
    for name, case in sorted(cases_by_name.items()):
        end, detail = ends.get(name, ("", "not looked at"))
        mark = "" if end == case.end else f" (expected {case.end})"
        wrong += end != case.end
        cells = [ascii(name)[1:-1][:60], case.what, (end or "left out") + mark, detail.replace(scratch, "")[:100]]
        show("| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |")
    show(f"\n{n_in} in, {sum(e == STORED for e, _ in ends.values())} stored, rejected: the rest; {wrong} surprises")
    return wrong


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
