"""Pictures as an OpenAI-compatible server takes them: scaled down to their bound, as data URLs of PNGs."""

from __future__ import annotations

import asyncio
import base64
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from ouro.core.images import encode_png
from ouro.core.json_text import parse_json


def scale_to_bound(picture: PILImage.Image, max_pixels: int | None, multiple: int = 1) -> PILImage.Image:
    """The picture scaled down to at most `max_pixels`, with sides that are multiples of `multiple`.

    The sizes are those of the image processors of Qwen2-VL and its successors (smart_resize).
    """
    width, height = picture.size
    rounded = [max(1, round(side / multiple)) * multiple for side in (width, height)]
    if max_pixels is None or rounded[0] * rounded[1] <= max_pixels:
        return picture
    factor = math.sqrt(width * height / max_pixels)
    size = [max(1, math.floor(side / factor / multiple)) * multiple for side in (width, height)]
    return picture.resize((size[0], size[1]), PILImage.Resampling.BICUBIC)


def encode_data_url(picture: PILImage.Image, max_pixels: int | None, multiple: int = 1) -> str:
    """A picture, scaled down to its bound, as a data URL of a PNG."""
    png = encode_png(scale_to_bound(picture.convert("RGB"), max_pixels, multiple))
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


class DataURLs:
    """A cache of the data URLs of the last `capacity` pictures; each is encoded once, in a thread."""

    def __init__(self, capacity: int, multiple: int) -> None:
        self._capacity, self._multiple = capacity, multiple
        # The picture is stored with its URL: while it is alive, no other picture can have its id.
        self._cache: OrderedDict[tuple[int, int | None], tuple[PILImage.Image, asyncio.Future[str]]] = OrderedDict()

    async def get(self, picture: PILImage.Image, bound: int | None) -> str:
        key = (id(picture), bound)
        if key not in self._cache:
            picture.load()  # must not happen in two threads at once
            future = asyncio.ensure_future(asyncio.to_thread(encode_data_url, picture, bound, self._multiple))
            self._cache[key] = picture, future
            if len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
        return await self._cache[key][1]


def resize_multiple(folder: Path) -> int:
    """The number that a local model's picture sides are multiples of (patch size times merge size); 1 if unknown."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            config: dict[str, Any] = parse_json((folder / name).read_bytes())
            processor = config.get("image_processor", config)
            return (
                int(processor.get("patch_size", 1)) * int(processor["merge_size"]) if "merge_size" in processor else 1
            )
    return 1
