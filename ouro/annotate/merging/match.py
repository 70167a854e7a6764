"""Object-name matching (OURO section 3.1): which child is which thing of its parent's, and of the root's, description.

A child is looked for by its name: the whole of it ("traffic light"), its last word with modifiers that fit, a synonym,
a kind. Of several things the one that looks like it and lies where it lies is taken; what stays ambiguous is not
matched. The paper gives no rules; these are ours, and their scores stand in fits.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rapidfuzz import fuzz

from ouro.annotate.english.attributes import attribute
from ouro.annotate.english.free_text import NounPhrase
from ouro.annotate.english.kinds import is_kind_of, noun, same_thing
from ouro.annotate.merging.fits import ANYONE, SCORES, Fit, fit, is_person, may_be_one_person
from ouro.annotate.merging.things import Named, Thing, quotations, read_named, read_things
from ouro.core.boxes import reading_order
from ouro.core.records import Description, Match, Region

_TIE = 0.02  # scores this close decide nothing
_LIKE_TEXT = 90.0  # rapidfuzz ratio from which two readings are of one text


def match_regions(regions: Sequence[Region], descriptions: Sequence[Description]) -> list[Match]:
    """The matches of one image's regions, in the order of `regions`, those in the parent before those in the root.

    A region without a description, or whose parent has none, has no match; nor has one whose name names nothing.
    """
    by_id = {r.region_id: r for r in regions}
    by_region = {d.region_id: d for d in descriptions}
    children: dict[str, list[Region]] = defaultdict(list)
    for region in regions:
        if region.parent_id in by_id and region.parent_id in by_region and region.region_id in by_region:
            children[region.parent_id].append(region)
    matches: list[Match] = []
    indices_by_parent: dict[str, set[int]] = {}
    for parent_id, below in children.items():
        new_matches, indices = _match_in(by_id[parent_id], by_region, below, frozenset())
        matches += new_matches
        indices_by_parent[parent_id] = indices
    for root in (r for r in regions if r.parent_id is None and r.region_id in by_region):
        deeper = [
            r for r in regions if r.parent_id in by_id and r.parent_id != root.region_id and r.region_id in by_region
        ]
        matches += _match_in(root, by_region, deeper, frozenset(indices_by_parent.get(root.region_id, ())))[0]
    order = {r.region_id: at for at, r in enumerate(regions)}
    return sorted(matches, key=lambda m: (order[m.region_id], m.parent_id != by_id[m.region_id].parent_id))


def _match_in(
    whole: Region, by_region: dict[str, Description], below: Sequence[Region], skip_things: frozenset[int]
) -> tuple[list[Match], set[int]]:
    """The regions `below` that the description of `whole` names, and which of its things are taken now."""
    text = by_region[whole.region_id].text
    things = read_things(text)
    names = [n for r in below if (n := read_named(r, by_region[r.region_id], whole.box))]
    text_matches = {at: m for at, n in enumerate(names) if _is_text(n) and (m := _match_text(n, whole, text))}
    assignment = _assign(names, things, frozenset(text_matches), skip_things)
    matches = list(text_matches.values())
    for at, child in enumerate(names):
        if at in assignment:
            matches.append(
                _as_match(child, whole, things[assignment[at][0]], assignment[at][1], _is_shared(at, assignment))
            )
        elif at not in text_matches and (
            other := _match_text(child, whole, text) or _match_whole(child, whole, things)
        ):
            matches.append(other)
    return matches, {thing for thing, _ in assignment.values() if not things[thing].many} | skip_things


Assignment = dict[int, tuple[int, Fit]]


def _is_shared(at: int, assignment: Assignment) -> bool:
    return sum(thing == assignment[at][0] for thing, _ in assignment.values()) > 1


def _as_match(child: Named, whole: Region, thing: Thing, fit: Fit, shared: bool) -> Match:
    few = thing.many and (not child.name.plural or shared or _fewer(child.name, thing.phrase))
    phrase = thing.phrase
    return Match(
        child.region.region_id, whole.region_id, phrase.start, phrase.end, "among" if few else "same", fit.rule,
        round(max(0.0, min(1.0, fit.score)), 3),
    )  # fmt: skip


def _fewer(a: NounPhrase, b: NounPhrase) -> bool:
    return a.number is not None and (b.number is None or a.number < b.number)


def _assign(names: list[Named], things: list[Thing], skip: frozenset[int], skip_things: frozenset[int]) -> Assignment:
    """Which thing each child is: best fits first, each thing that is one taken once; ties are left, or go by order."""
    fits = _all_fits(names, things, skip, skip_things)
    assignment: Assignment = {}
    counts: dict[int, int] = defaultdict(int)
    while True:
        sure = _sure(fits, names, things)
        if sure is None:
            break
        child, thing, fit = sure
        assignment[child] = (thing, fit)
        counts[thing] += 1
        fits.pop(child)
        _close(fits, thing, things[thing], counts[thing])
    assignment |= _by_order(fits, names, things)
    return assignment | _only_person(names, things, assignment, skip, skip_things)


Fits = dict[int, dict[int, Fit]]


def _all_fits(names: list[Named], things: list[Thing], skip: frozenset[int], skip_things: frozenset[int]) -> Fits:
    """Child -> thing -> fit, where there is one."""
    rank = _ranks(names)
    fits: Fits = {}
    for at, child in enumerate(names):
        if at in skip:
            continue
        options = {k: f for k, t in enumerate(things) if k not in skip_things and (f := fit(child, t, rank[at]))}
        if options:
            fits[at] = options
    return fits


def _ranks(names: list[Named]) -> list[int]:
    """Of each child, the how-many-th of its name it is in reading order, from 1."""
    ranks = [1] * len(names)
    groups: dict[str, list[int]] = defaultdict(list)
    for at, child in enumerate(names):
        groups[child.name.noun].append(at)
    for members in groups.values():
        if len(members) > 1:
            for rank, k in enumerate(reading_order([names[at].region.box for at in members]), start=1):
                ranks[members[k]] = rank
    return ranks


def _only_person(
    names: list[Named], things: list[Thing], assignment: Assignment, skip: frozenset[int], skip_things: frozenset[int]
) -> Assignment:
    """Where one person is told of and one person's region is left, they are one: "an astronaut", "a woman".

    Where only a group is told of, "several pedestrians", whom a name calls no more than a man or a child is of it.
    """
    assigned_things = skip_things | {thing for thing, _ in assignment.values()}
    people = [at for at, t in enumerate(things) if is_person(t.phrase.noun) and (t.phrase.determiner or t.many)]
    singles = [at for at in people if not things[at].many and at not in assigned_things]
    groups = [at for at in people if things[at].many]
    children = [at for at, n in enumerate(names) if at not in assignment and at not in skip and is_person(n.name.noun)]
    if len(singles) == len(children) == 1 and may_be_one_person(names[children[0]], things[singles[0]].phrase):
        return {children[0]: (singles[0], Fit(SCORES["person"], "person"))}
    if len(groups) == 1 and not singles:
        some = [at for at in children if names[at].name.noun in ANYONE]
        return {at: (groups[0], Fit(SCORES["person"], "person")) for at in some}
    return {}


def _sure(fits: Fits, names: list[Named], things: list[Thing]) -> tuple[int, int, Fit] | None:
    """The best fit that nothing rivals: no other thing for the child, and no other child for the thing."""
    ranked = sorted(((f.score, -c, -t) for c, options in fits.items() for t, f in options.items()), reverse=True)
    for score, c, t in ranked:
        child, thing = -c, -t
        rivals = [k for k, f in fits[child].items() if k != thing and f.score > score - _TIE]
        if rivals and not all(_one_mass(things[k]) for k in (thing, *rivals)):
            continue
        if not things[thing].many:
            others = [k for k, options in fits.items() if k != child and thing in options]
            others = [k for k in others if fits[k][thing].score > score - _TIE and _best(fits, k) == thing]
            if any(names[child].size < 2 * names[k].size for k in others):
                continue
        return child, thing, fits[child][thing]
    return None


def _best(fits: Fits, child: int) -> int:
    return max(fits[child], key=lambda k: (fits[child][k].score, -k))


def _one_mass(thing: Thing) -> bool:
    """Things without a number ("several boats ... some boats"): the first mention is as good as the next."""
    return thing.many and thing.phrase.number is None


def _close(fits: Fits, thing: int, what: Thing, n_regions: int) -> None:
    """A thing that is one is taken; of "four towers" no fifth is one by kind alone."""
    full = what.phrase.number is not None and n_regions >= what.phrase.number
    for child in list(fits):
        fit = fits[child].get(thing)
        if fit and (not what.many or (full and fit.rule in ("kind", "general", "person"))):
            del fits[child][thing]
            if not fits[child]:
                del fits[child]


def _by_order(fits: Fits, names: list[Named], things: list[Thing]) -> Assignment:
    """Of texts that nothing else tells apart, as many told of as there are: reading order is the order of telling."""
    assignment: Assignment = {}
    groups: dict[frozenset[int], list[int]] = defaultdict(list)
    for child, options in fits.items():
        if names[child].region.kind not in ("text", "table"):
            continue
        best = max(f.score for f in options.values())
        groups[frozenset(k for k, f in options.items() if f.score > best - _TIE)].append(child)
    for options, members in groups.items():
        if len(options) == len(members) > 1 and not any(things[k].many for k in options):
            order = reading_order([names[at].region.box for at in members])
            for k, thing in zip(order, sorted(options), strict=True):
                fit = fits[members[k]][thing]
                assignment[members[k]] = (thing, Fit(fit.score - 0.1, "order"))
    return assignment


def _is_text(child: Named) -> bool:
    return bool(child.region.text) and (child.name.noun == "text" or is_kind_of(child.name.noun, "text"))


def _match_text(child: Named, whole: Region, text: str) -> Match | None:
    """Text that the description quotes: just this text, or a line within a longer quotation; read loosely."""
    reading = " ".join(child.region.text.split()).casefold()
    if len(reading) < 3:
        return None
    for start, end in quotations(text):
        quotation = text[start:end].casefold()
        if fuzz.ratio(reading, quotation) >= _LIKE_TEXT:
            return Match(child.region.region_id, whole.region_id, start, end, "same", "text", 0.95)
        if 8 <= len(reading) < len(quotation):
            place = fuzz.partial_ratio_alignment(reading, quotation, score_cutoff=_LIKE_TEXT)
            if place is not None:
                first, last = start + place.dest_start, start + place.dest_end
                return Match(child.region.region_id, whole.region_id, first, last, "same", "text", 0.9)
    return None


def _match_whole(child: Named, whole: Region, things: list[Thing]) -> Match | None:
    """The whole that the child says it is a part of: "the handle of a cup" and a cup."""
    for owner in child.owners:
        owner_noun = noun(owner)
        for thing in things:
            phrase = thing.phrase
            fits = (
                same_thing(owner_noun, phrase.noun)
                or is_kind_of(phrase.noun, owner_noun)
                or is_kind_of(owner_noun, phrase.noun)
            )
            if fits and attribute(owner_noun) is None and not phrase.plural and phrase.determiner:
                return Match(child.region.region_id, whole.region_id, phrase.start, phrase.end, "part", "owner", 0.5)
    return None
