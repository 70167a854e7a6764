"""What answers at an address that a person set in the environment: asked once, with a bound on time and on bytes."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import NamedTuple

SECONDS = 10.0  # for an answer
MAX_BYTES = 65_536


class Answer(NamedTuple):
    """`status` and `body` of a reply over HTTP, whatever it is; `problem`: why there is none, "" with one."""

    status: int = 0
    kind: str = ""
    body: bytes = b""
    problem: str = ""

    @property
    def what(self) -> str:
        """What happened, as the end of "got URL, ...": for an address at which something else answers, too."""
        return self.problem or f"where something else answers ({self.status}, {self.kind or 'without a type'})"


def ask(url: str, seconds: float = SECONDS) -> Answer:
    """GET `url`, with what answers or why nothing does. Never raises."""
    if not url.lower().startswith(("http://", "https://")):
        return Answer(problem="which is no address that begins with http:// or https://")
    deadline = time.monotonic() + seconds
    try:
        with urllib.request.urlopen(url, timeout=seconds) as reply:
            return _answer(reply, deadline)
    except urllib.error.HTTPError as error:
        return _answer(error, deadline)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Answer(problem=_problem(error, seconds))


def reach(host: str, port: int, seconds: float = SECONDS) -> str:
    """Why nothing listens there, as the end of "got URL, ..."; "" where something does."""
    try:
        socket.create_connection((host, port), seconds).close()
    except (OSError, ValueError, OverflowError) as error:
        return _problem(error, seconds)
    return ""


def masked(url: str) -> str:
    """An address without user, password and query, for a message."""
    return re.sub(r"//[^/]*@", "//***@", url.partition("#")[0].partition("?")[0], count=1)


def origin(name: str) -> str:
    """A setting and that the environment has it, as the beginning of a message."""
    return f"{name} (environment variable)" if os.environ.get(name) else name


def _answer(reply: http.client.HTTPResponse | urllib.error.HTTPError, deadline: float) -> Answer:
    body = b""
    try:
        while len(body) < MAX_BYTES and time.monotonic() < deadline and (part := reply.read(4096)):
            body += part
    except (OSError, ValueError, http.client.HTTPException):
        pass  # what came by then says enough
    return Answer(reply.status or 0, reply.headers.get_content_type() if reply.headers else "", body)


def _problem(error: BaseException, seconds: float) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"where nothing answers within {seconds:g} s"
    if isinstance(reason, socket.gaierror):
        return "whose host has no address"
    if isinstance(reason, ConnectionRefusedError):
        return "where nothing listens (connection refused)"
    if isinstance(reason, ssl.SSLError):
        return f"whose certificate or encryption does not fit ({reason.reason or 'TLS error'})"
    if isinstance(reason, http.client.InvalidURL | ValueError | OverflowError):
        return "which is no address"
    if isinstance(reason, http.client.HTTPException):
        return "where something answers that does not speak HTTP"
    return f"which cannot be reached ({str(reason)[:100] or type(reason).__name__})"
