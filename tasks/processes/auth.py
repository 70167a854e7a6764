"""Who may use the Prefect server of this checkout: whoever has the string in .ouro/prefect-server.auth.

Prefect's API runs commands: with the string anybody can, without it nobody. It is "user:password", made once a checkout
and read by its owner alone (mode 0600). The server gets it as PREFECT_SERVER_API_AUTH_STRING, our own processes as
PREFECT_API_AUTH_STRING: in the environment, never on a command line, which every user of the machine sees.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from ouro.core.state import State

CLIENT = "PREFECT_API_AUTH_STRING"  # what Prefect's clients send
SERVER = "PREFECT_SERVER_API_AUTH_STRING"  # what its server expects
USER = "admin"
SECONDS = 10.0  # for an answer


def stored_auth(state: State) -> str | None:
    """The string of this checkout; None as long as there is none. Raises OSError for a file that cannot be read."""
    try:
        return state.prefect_auth.read_text("ascii").strip() or None
    except FileNotFoundError:
        return None


def auth_string(state: State) -> str:
    """The string of this checkout, made if there is none yet. Two processes may not make it at once."""
    return stored_auth(state) or _make(state.prefect_auth)


def _make(path: Path) -> str:
    text = f"{USER}:{secrets.token_urlsafe(24)}"
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(f"{text}\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return text


def admits(api: str, auth: str | None) -> bool | None:
    """Whether the Prefect API of this machine answers to that string, or to none; None when that cannot be told."""
    request = urllib.request.Request(f"{api}/admin/version")
    if auth is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the string goes to no proxy
    with contextlib.suppress(urllib.error.URLError, OSError, ValueError):
        try:
            with opener.open(request, timeout=SECONDS) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return False if error.code in (401, 403) else None
    return None


def login_hint(state: State, terminal: bool) -> str:
    """What the page asks for, for the line with its address: the string on a terminal, its file in a log."""
    if not terminal:
        return f"  (password when asked: in {state.prefect_auth})"
    return f"  (password when asked: {stored_auth(state)})"
