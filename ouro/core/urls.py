"""The address of a server as params and --url give it."""

from __future__ import annotations

from urllib.parse import urlsplit


def url_problem(url: str) -> str:
    """What is wrong with a server's address, or ""; the text holds no part of the address that may be a secret.

    An address is kept with the results and shown by Prefect, so no key may be in it: no user, query or fragment.
    """
    if "@" in url:
        return f"got one with a user or password in it, which would be kept with the results; {_PLAIN}"
    if "?" in url or "#" in url:
        return f"got one with a part behind ? or #, which would be kept with the results; {_PLAIN}"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an address in them, a port beyond 65535
        known = False
    if not known or not url.isprintable() or " " in url:
        return f"got {url[:200]!r}, expected one like http://127.0.0.1:8000/v1"
    return ""


_PLAIN = "expected a plain address. Fix: leave that out; a key belongs into OPENAI_API_KEY"
