"""The name of a nano description's main object, from the template of nano's language (`describe.name: derived`)."""

from __future__ import annotations

import re

from ouro.nano.scenes import COLORS, CONTAINERS, PATTERNS, SHAPES

_COLOR, _PATTERN, _SHAPE, _KIND = ("|".join(names) for names in (COLORS, PATTERNS, SHAPES, CONTAINERS))
_ITEM = re.compile(rf"a (?:(?:{_COLOR}) )?(?:(?:{_PATTERN}) )?(?:{_SHAPE}|sign)\b(?! (?:and|with)\b|,)")
_CONTAINER = re.compile(rf"(a (?:{_KIND}))(?=\.?$| with | that says )")


def derive_name(text: str) -> str:
    """ "a red striped ring" of an object, "a table" of "a table with a ring and a star", "a sign" of "a sign that says
    milk". "" of a scene with several containers, which has no main object, and of text in other words.
    """
    match = _CONTAINER.match(text) or _ITEM.match(text)
    return match[0] if match else ""
