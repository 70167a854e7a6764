"""What a server takes beside the plain request: `logprobs`, and a JSON schema in one of its three forms.

Servers differ, and one that refuses a field says 400 or 422 without saying which. So the first refused request is asked
again without extras: if that is refused, too, the request is at fault; else each extra is tried alone, once for all.

`response_format` is the OpenAI API's; `structured_outputs` is vLLM's from 0.12 on, `guided_json` before that.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ouro.vision.protocols import Request

LOGPROBS = "logprobs"
SCHEMA_FORMS = ("response_format", "structured_outputs", "guided_json")
_ALL = (LOGPROBS, *SCHEMA_FORMS)

Fields = dict[str, Any]
Ask = Callable[[Fields], Awaitable[bytes]]


class Extras:
    """What is known of one server: which extras it has taken, and which it has refused."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._refused: set[str] = set()

    @property
    def takes_schemas(self) -> bool:
        """Whether a form of schema is left that the server has not refused."""
        return not self._refused.issuperset(SCHEMA_FORMS)

    def _names_for(self, request: Request) -> list[str]:
        names = [LOGPROBS] if request.confidence else []
        if request.schema:
            names += [form for form in SCHEMA_FORMS if form not in self._refused][:1]
        return [name for name in names if name not in self._refused]

    async def ask(self, ask: Ask, request: Request, refusal: type[Exception]) -> bytes:
        """The body of the answer to a request with what it wants of what the server takes.

        `ask` sends it with these fields and raises `refusal` when the server refuses. Raises that when it refuses the
        request without extras, too, or has taken them before.
        """
        names = self._names_for(request)
        try:
            body = await ask(_fields(names, request))
        except refusal:
            if self._taken.issuperset(names):
                raise
            body = await ask({})
            await self._try_each(ask, request, refusal)
            left = self._names_for(request)
            return await ask(_fields(left, request)) if left else body
        self._taken.update(names)
        return body

    async def _try_each(self, ask: Ask, request: Request, refusal: type[Exception]) -> None:
        """Ask with one extra at a time, until a form of schema is taken."""
        for name in _ALL:
            names = self._taken | self._refused
            if name in names or (name in SCHEMA_FORMS and (not request.schema or known_form(self._taken))):
                continue
            if name == LOGPROBS and not request.confidence:
                continue
            try:
                await ask(_fields([name], request))
            except refusal:
                self._refused.add(name)
            else:
                self._taken.add(name)


def known_form(taken: set[str]) -> bool:
    """Whether one of the forms of a schema is among what a server has taken."""
    return not taken.isdisjoint(SCHEMA_FORMS)


def _fields(names: list[str], request: Request) -> Fields:
    """The fields of a request's body."""
    fields: Fields = {}
    schema: Any = json.loads(request.schema) if request.schema else None
    forms: Fields = {
        LOGPROBS: True,
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}},
        "structured_outputs": {"json": schema},
        "guided_json": schema,
    }
    for name in names:
        fields[name] = forms[name]
    return fields
