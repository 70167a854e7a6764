"""The base of every error that Ouro raises itself."""

from __future__ import annotations


class OuroError(Exception):
    """An error whose message is written for the person: what, got, expected, fix.

    Bad input is also a ValueError, a missing library an ImportError, a failure of the machine a RuntimeError.
    """
