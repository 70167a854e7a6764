"""Which model answers at the server of params.model: found out at the beginning of a run, and part of the address of
all that it says.

Who answered last is kept in `.ouro/served`. While a server does not answer, what is kept of that model is used, with a
note; before anything new is asked of it, it must show that it is still the same.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ouro.core.files import write_json
from ouro.core.json_text import parse_json
from ouro.core.params import Model
from ouro.core.state import CHECKOUT
from ouro.vision.served import find_identity
from ouro.vision.server_errors import ServerRefused, ServerUnavailable
from tasks import screen

if TYPE_CHECKING:
    from ouro.vision.identity import Identity

Server = tuple[str, str]  # address, and name of the model


class AnotherModel(ServerRefused):
    """A server that answers with another model than the one that this run's kept results are of."""


class Answerer(NamedTuple):
    """digest: of who answers at a server, "" where nobody ever did. present: whether it did in this run. run: the
    number of the look, of this process."""

    digest: str
    present: bool
    run: int


_answerers: dict[Server, Answerer] = {}
_runs = itertools.count()
_looking = threading.Lock()


def find_answerer(model: Model, *, required: bool = False) -> None:
    """Look anew who answers, and say what is to be known of it; nothing where no server is used.

    `required`: raise the error of a server that does not answer and never has. Else it counts as unknown. Raises
    ServerRefused for one that refuses and never has answered, and ServerUnavailable.
    """
    if model.backend != "openai":
        return
    with _looking:
        _answerers[_server(model)] = _look(model, required)


def answerer(model: Model) -> Answerer:
    """Who answers, as this process found out."""
    with _looking:
        if _server(model) not in _answerers:
            _answerers[_server(model)] = _look(model, required=False)
        return _answerers[_server(model)]


def checked_before_asking(model: Model) -> Callable[[], None] | None:
    """What must be called before the first request, None where this run has seen who answers."""
    found = answerer(model)
    return None if found.present else partial(_confirm, model, found.digest)


def _confirm(model: Model, digest: str) -> None:
    """Raise AnotherModel unless who answers now is who is expected; ServerUnavailable where still nobody does."""
    identity = find_identity(model)
    _keep(_server(model), identity)
    if identity.digest != digest:
        raise AnotherModel(
            f"{model.url}, model {model.name!r}: did not answer when this run began, and what answers now is not known "
            "to be the model that kept results are of; expected that one. Fix: run the same command again: then it is "
            "asked for what it has not said yet"
        )


def _look(model: Model, required: bool) -> Answerer:
    server = _server(model)
    known, when = _kept(server)
    try:
        identity = find_identity(model)
    except (ServerUnavailable, ServerRefused) as error:
        if not known and (required or isinstance(error, ServerRefused)):
            raise
        if known:
            screen.say(
                f"note: {error}. Until then what is kept is used, as of the model that last answered there ({when}); "
                "nothing else can be asked"
            )
        return Answerer(known, present=False, run=next(_runs))
    for note in _notes(model, identity, known, when):
        screen.say(f"note: {note}")
    _keep(server, identity)
    return Answerer(identity.digest, present=True, run=next(_runs))


def _notes(model: Model, identity: Identity, known: str, when: str) -> list[str]:
    where = f"{model.url}, model {model.name!r}"
    notes: list[str] = []
    if not identity.greedy:
        notes.append(
            f"{where}: does not answer the same twice, though it is asked for greedy decoding. Kept replies are told "
            "from another model's by the server's list of models alone"
        )
    if known and known != identity.digest:
        notes.append(f"{where}: another model answers than the last time ({when}); what that one said is not used")
    return notes


def _server(model: Model) -> Server:
    return model.url.rstrip("/"), model.name


def _file(server: Server) -> Path:
    return CHECKOUT.served / f"{hashlib.sha256(repr(server).encode()).hexdigest()[:16]}.json"


def _kept(server: Server) -> tuple[str, str]:
    """Who answered there last, and when; ("", "") where nobody did, or the file is damaged."""
    try:
        kept: Any = parse_json(_file(server).read_bytes())
        return str(kept["identity"]), str(kept["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def _keep(server: Server, identity: Identity) -> None:
    url, name = server
    when = time.strftime("%Y-%m-%d %H:%M")
    write_json(_file(server), {"url": url, "name": name, "identity": identity.digest, "time": when})
