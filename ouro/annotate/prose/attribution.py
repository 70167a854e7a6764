"""Whether the attributes of a statement's things are told of these very things, and which things it can mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ouro.annotate.english.chunks import WORD
from ouro.annotate.english.kinds import is_kind_of
from ouro.annotate.prose.entities import Told, above_of, together
from ouro.annotate.prose.evidence import Evidence
from ouro.annotate.prose.gaps import INVERSE, is_act
from ouro.annotate.prose.likeness import (
    excludes_posture,
    fits,
    has_look,
    is_colour,
    is_living,
    kinds_told,
    opposed,
    postures_of,
    readings,
    same_look,
)
from ouro.annotate.prose.things import AREAS, COVERS, Reading, Thing, stem
from ouro.annotate.prose.words import is_general, is_said, tells_looks


class Attribution:
    """Of one statement: `links` of each thing with those after it (both ways, to be strict), `to` of those before it;
    `refuted` is set where an attribute is told otherwise."""

    def __init__(self, reading: Reading, evidence: Evidence, strict: bool) -> None:
        self.refuted = False
        self.links: dict[int, list[tuple[str, int]]] = defaultdict(list)
        self.to: dict[int, list[tuple[str, int]]] = defaultdict(list)
        self._reading, self._evidence, self._strict = reading, evidence, strict
        self._of_sentence: dict[int, list[Thing]] = defaultdict(list)
        for thing in reading.things:
            self._of_sentence[thing.sentence].append(thing)
        for link in reading.links:
            self.links[link.a].append((link.relation, link.b))
            self.to[link.b].append((link.relation, link.a))
            if strict:
                self.links[link.b].append((INVERSE[link.relation], link.a))

    def missing(self, at: int, thing: Thing, told: Sequence[Told]) -> Iterator[str]:
        """The attributes of the statement's thing `at` that nobody gives it; `told`: the things of its name."""
        own = self._evidence.meant(thing) if self._strict else [o for o in told if not opposed(thing, o.thing)]
        own = own or list(told)
        bound = self._bound(at, own)
        close = self.closest(at, bound)
        if not self._strict and is_living(thing.noun) and (posture := self._posture(thing, own)):
            yield f"attribute: {posture} {thing.noun}"
        for word in sorted(thing.looks):
            if not self._strict and _is_idle(word, thing):
                continue
            if self._strict and is_living(thing.noun) and word in thing.said and is_act(word):
                if not self._acts(word, together(bound)):
                    yield f"attribute: {word} {thing.noun}"
                continue
            if not tells_looks(word):
                is_told = self._is_compound(word, thing, told)
            else:
                is_told = self._has(word, thing, bound if readings(word) else own, close)
                is_told = is_told or (not self._strict and self._wider(word, at, own, close))
            if not (is_told or (not self._strict and self._may_mean(word, thing, own))):
                yield f"attribute: {word} {thing.noun}"

    def _wider(self, word: str, at: int, own: Sequence[Told], close: Sequence[Told]) -> bool:
        """Whether another thing of the name has the attribute that somebody tells to be the owner's, too; where nobody
        tells one of that kind of the close ones."""
        kinds = {kind for kind, _ in readings(word)}
        owners = {x for relation, a in self.to[at] if relation == "has" for x in self._alike(a)}
        theirs = [o for o in own if any(told in ("in", "of") and x in owners for told, x in o.links)]
        return not any(kinds & kinds_told(o.thing) for o in close) and any(has_look(word, o.thing) for o in theirs)

    def _alike(self, at: int) -> tuple[Told, ...]:
        return self._evidence.alike(self._reading.things[at].noun)

    def _posture(self, thing: Thing, own: Sequence[Told]) -> str:
        """The word by which someone sits who is told to stand, where nobody in the sentence is told to sit."""
        told = postures_of(w for o in together(own) for w in o.thing.said | o.thing.loose)
        others = [o for t in self._of_sentence[thing.sentence] for o in self._evidence.alike(t.noun)]
        anyone = told | postures_of(w for o in others for w in o.thing.said | o.thing.loose)
        start, end = self._reading.sentences[thing.sentence]
        words = [w for w in WORD.findall(self._reading.prose[start:end].lower()) if w in thing.said | thing.loose]
        return next((w for w in words if excludes_posture(told, postures_of([w]) - anyone)), "")

    def _may_mean(self, word: str, thing: Thing, own: Sequence[Told]) -> bool:
        """Whether another reading is told: of another thing beside what stands behind a comma, of the same sentence
        where the inputs give the thing no value of that kind."""
        if word in thing.aside and any(
            has_look(word, o.thing)
            for other in self._of_sentence[thing.sentence]
            for o in self._evidence.alike(other.noun)
        ):
            return True
        if (
            is_living(thing.noun)
            and word in thing.said
            and any(has_look(word, x.thing) for o in own for _, x in o.links)
        ):
            return True  # dressed in yellow
        kinds = {kind for kind, _ in readings(word)}
        if any(kinds & kinds_told(o.thing) for o in own):
            return False
        covers = (x.thing for o in own for told, x in o.links if told == "has" and x.thing.noun in COVERS)
        if any(has_look(word, x) for x in covers):
            return True  # its body is green
        return self._evidence.passages.may_tell(word, thing)

    def _acts(self, word: str, own: Sequence[Told]) -> bool:
        """Whether someone is told to do that; the rest of what they do is not told of them."""
        done = {stem(w) for o in own for w in o.thing.said | o.thing.loose}
        self.refuted = self.refuted or (
            stem(word) not in done and any(is_act(w) for o in own for w in o.thing.said | o.thing.loose)
        )
        return stem(word) in done

    def _has(self, word: str, thing: Thing, own: list[Told], close: list[Told]) -> bool:
        """Whether a thing of that name has the attribute; where nobody tells, a word told of nothing else may."""
        kinds = {kind for kind, _ in readings(word)}
        if self._strict or any(kinds & kinds_told(o.thing) for o in close):
            own = close
        if any(has_look(word, o.thing) for o in own) or (not self._strict and _part_has(word, thing, own)):
            return True
        if any(kinds & kinds_told(o.thing) for o in own):
            self.refuted = self.refuted or all(kinds & kinds_told(o.thing) for o in own if o.thing.modifiers)
            return False
        sources = {o.source for o in own}
        if not self._strict and self._evidence.passages.tell_of(word, thing.noun.split()[-1], sources):
            return True
        return not self._strict and self._may_have(word, thing, own)

    def _may_have(self, word: str, thing: Thing, own: list[Told]) -> bool:
        """Whether its whole has the attribute, or what is told by a general name; or nobody tells it of anything."""
        if any(has_look(word, other.thing) for o in own for told, other in o.links if told == "of"):  # of a red cup
            return True
        if not is_colour(word) and any(has_look(word, x.thing) for o in own for told, x in o.links if told == "has"):
            return True  # a window with a glass pane
        others = [o for o in self._evidence.told if o not in own and any(same_look(word, w) for w in o.thing.looks)]
        if any(is_kind_of(thing.noun, name) for o in others for name in (o.thing.noun, f"body of {o.thing.noun}")):
            return True
        return not others and is_said(self._evidence, word)

    def _is_compound(self, word: str, thing: Thing, told: Sequence[Told]) -> bool:
        """False for a modifier that is told of other things alone: a copper handle, where copper are the lamps."""
        if (
            word not in thing.modifiers
            or word.endswith(("'s", "’s", "s'"))
            or (not self._strict and word not in self._evidence.modifiers)
        ):
            return True
        if any(word in x.thing.words for o in told for relation, x in o.links if relation == "of"):
            return True  # a shuttle model: the model of a shuttle
        if self._evidence.alike(word) and not (self._strict and all(o.thing.modifiers for o in told)):
            return True
        return not any(o.thing.modifiers for o in told) or any(has_look(word, o.thing) for o in told)

    def closest(self, at: int, own: list[Told]) -> list[Told]:
        """Of several things of one name those that stand in the same relations to the same others: the fur around the
        eye, the cup on the shelf."""
        for relation, other in self.links[at]:
            if not self._strict and relation not in ("in", "beside", "of"):
                continue
            thing = self._reading.things[other]
            alike = set(self._evidence.meant(thing) if self._strict else self._evidence.alike(thing.noun))
            close = [o for o in own if any(fits(relation, told) and x in alike for told, x in o.links)]
            own = (together(close) if self._strict else close) or own
        return own

    def _bound(self, at: int, own: list[Told]) -> list[Told]:
        """Of several things of one name those that the owner has: "the door has a handle", where it names just one."""
        owners = [] if self._strict else [owner for relation, owner in self.to[at] if relation == "has"]
        theirs = {x for owner in owners for x in self._evidence.meant(self._reading.things[owner])}
        direct = [o for o in own if o.thing.modifiers and any(t in ("in", "of") and x in theirs for t, x in o.links)]
        if len(owners) > 1 and direct:
            return together(direct)
        return (self._owned(self._reading.things[owners[0]], own) if len(owners) == 1 else []) or own

    def _owned(self, owner: Thing, own: list[Told]) -> list[Told]:
        """Those that the owner is told to have, or that its region or one inside of it tells of."""
        owners = set(self._evidence.meant(owner))
        regions = {p.region for p in self._evidence.shown(owner.noun)}
        return together(
            o
            for o in own
            if any(told in ("in", "of") and x in owners for told, x in o.links)
            or regions & set(above_of(self._evidence.parents, o.region))
        )


def _is_idle(word: str, thing: Thing) -> bool:
    """ "the right-hand one", "full of energy": a place, a feeling."""
    fills = {kind for kind, _ in readings(word)} == {"fill"}
    general = is_general(word) and not readings(word)
    return general or word.split("-")[0] in AREAS or (fills and is_living(thing.noun))


def _part_has(word: str, thing: Thing, own: list[Told]) -> bool:
    """Whether the part that an adjective names has the attribute: a gray tiled floor, a gold-framed mirror."""
    parts = {stem(part) for w in thing.modifiers for part in w.split("-")[-1:] if part.endswith("ed")}
    linked = (x.thing for o in own for _, x in o.links)
    return any(stem(x.noun) in parts and has_look(word.split("-")[0], x) for x in linked)
