"""Which attribute entities are one: stages from sure to less sure, within one entity type.

Decisions of people first, then names equal in their key, then near names that the rules of
entity_similarity.py find sure enough; pairs between the two thresholds are left for review. The
result depends on the set of names and on what was kept before, never on the order of rows. Work
grows with names x max_block.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from graph_etl.resolution.entity_config import ResolutionConfig
from graph_etl.resolution.entity_groups import Groups, Link
from graph_etl.resolution.entity_names import NameForms, NameKind, name_forms
from graph_etl.resolution.entity_similarity import Likeness, likeness
from graph_etl.resolution.shared_items import SharedItems

NameVectors = Callable[[Sequence[str]], NDArray[np.float32]]
"""Names -> one vector each, float32 (num_names, dim): evidence for pairs that are not sure."""

_COMPARED_FROM = 70.0  # rapidfuzz's ratio (0-100) below which no rule explains a difference
_CHUNK = 500_000  # pairs compared in one call


@dataclass(frozen=True)
class Entity:
    """An attribute entity before it is resolved.

    Attributes:
        entity_id: Its id.
        names: Its spellings; at least one.
        times: How often it is named.
        rank: 0 where the published graph kept it in a merge, 1 where it is there, else 2.
        kept_as: The id it has in the published graph's merges; "" where it is in none. What was
            merged stays together before anything new joins.
    """

    entity_id: str
    names: tuple[str, ...]
    times: int
    rank: int = 2
    kept_as: str = ""


@dataclass(frozen=True)
class Merge:
    """One id that becomes another."""

    merged_id: str
    kept_id: str
    stage: str
    score: float
    evidence: str


@dataclass(frozen=True)
class OpenPair:
    """Two entities of which somebody should say whether they are one."""

    id_a: str
    id_b: str
    score: float
    evidence: str


@dataclass
class Merges:
    """What resolution of one entity type found.

    Attributes:
        merges: By merged id; a kept id is never merged itself.
        open_pairs: Surest first.
        counts: What was cut or left out, for the audit.
    """

    merges: list[Merge] = field(default_factory=list)
    open_pairs: list[OpenPair] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def merge_entities(
    entities: Iterable[Entity],
    entity_type: str,
    config: ResolutionConfig,
    *,
    same: Iterable[tuple[str, str]] = (),
    different: Iterable[tuple[str, str]] = (),
    shared: SharedItems | None = None,
    vectors: NameVectors | None = None,
) -> Merges:
    """Return which entities of one type are one.

    Of a merged entity's ids the one of the lowest rank is kept, then the one named most often,
    then the first in order.

    Args:
        entities: Of one type, ids unique.
        entity_type: That type.
        config: The level, the thresholds, what the type's names are.
        same: Pairs of ids that people said are one; each id must be among the entities.
        different: Pairs that may never be one; other ids are passed over.
        shared: What items say of a pair.
        vectors: Gives names' vectors; a pair between the thresholds then gets the mean of its
            score and the cosine. None: names alone decide.
    """
    own = {entity.entity_id: entity for entity in sorted(entities, key=lambda one: one.entity_id)}
    groups = Groups(own, different)
    for one, other in sorted(same):
        groups.join(Link(one, other, "reviewed", 1.0, "a decision"))
    found = Merges()
    if config.level != "spelling":
        kind = config.kinds.get(entity_type, "words")
        names = _Names(own.values(), kind, entity_type in config.last_first)
        _join_equal(names, groups)
        if config.level == "similar":
            _Similar(names, groups, config, shared, vectors).join(found)
    found.merges = sorted(_merges_of(groups, own), key=lambda merge: merge.merged_id)
    kept = {merge.merged_id: merge.kept_id for merge in found.merges}
    found.open_pairs = [
        replace(pair, id_a=kept.get(pair.id_a, pair.id_a), id_b=kept.get(pair.id_b, pair.id_b))
        for pair in found.open_pairs
    ]
    return found


def _merges_of(groups: Groups, own: Mapping[str, Entity]) -> Iterator[Merge]:
    """Yield what becomes of each set of two entities or more."""
    for members in groups.sets():
        kept = min(members, key=lambda one: (own[one].rank, -own[one].times, one))
        for merged, link in groups.reasons(kept).items():
            yield Merge(merged, kept, link.stage, link.score, link.evidence)


class _Names:
    """The keys of entities: what they are compared by."""

    def __init__(self, entities: Iterable[Entity], kind: NameKind, last_first: bool) -> None:
        self.kind = kind
        self.forms: dict[str, NameForms] = {}  # by key
        self.owners: dict[str, list[str]] = defaultdict(list)  # key -> ids
        self.keys: dict[str, list[str]] = {}  # id -> keys
        self.spelled: dict[str, str] = {}  # key -> a spelling
        self.kept_as: dict[str, str] = {}  # id -> id in the published graph
        for entity in entities:
            own: dict[str, None] = {}
            for name in sorted(entity.names):
                forms = name_forms(name, kind, last_first=last_first)
                self.forms.setdefault(forms.key, forms)
                self.spelled.setdefault(forms.key, name)
                own.setdefault(forms.key)
            self.keys[entity.entity_id] = list(own)
            self.kept_as[entity.entity_id] = entity.kept_as
            for key in own:
                self.owners[key].append(entity.entity_id)


def _join_equal(names: _Names, groups: Groups) -> None:
    """Unite the entities that share a key."""
    for key in sorted(names.owners):
        apart: list[str] = []  # one id of each set so far: more than one where some are barred
        for one in names.owners[key]:
            link = (Link(other, one, "exact", 1.0, "equal but for accents, punctuation and "
                         "initials") for other in apart)  # fmt: skip
            united = any(groups.root(other) == groups.root(one) for other in apart)
            if not united and not any(groups.join(each) for each in link):
                apart.append(one)


class _Similar:
    """The stage of near names."""

    def __init__(
        self,
        names: _Names,
        groups: Groups,
        config: ResolutionConfig,
        shared: SharedItems | None,
        vectors: NameVectors | None,
    ) -> None:
        self.names, self.groups, self.config = names, groups, config
        self.shared, self.vectors = shared, vectors

    def join(self, found: Merges) -> None:
        """Unite what is sure, and put what is not among the open pairs."""
        pairs = sorted(
            self._scored(found),
            key=lambda link: (not self._was_one(link), -link.score, link.one, link.other),
        )
        unsure = []
        for link in pairs:
            if self.groups.root(link.one) == self.groups.root(link.other):
                continue
            if link.score < self.config.accept_at or not self._all_alike(link):
                unsure.append(link)
            else:
                self.groups.join(link)
        found.open_pairs += self._open(unsure)

    def _was_one(self, link: Link) -> bool:
        kept = self.names.kept_as[link.one]
        return kept != "" and kept == self.names.kept_as[link.other]

    def _scored(self, found: Merges) -> Iterator[Link]:
        """Yield the pairs of score ``review_at`` or more, by one id of each side."""
        from graph_etl.resolution.blocking import pairs_within  # its libraries load slowly

        short = [
            key
            for key in sorted(self.names.forms)
            if len(" ".join(self.names.forms[key].tokens)) <= self.config.max_length
        ]
        found.counts["names too long to compare"] = len(self.names.forms) - len(short)
        compared = [" ".join(self.names.forms[key].tokens) for key in short]
        pairs, num_cut = pairs_within(compared, max_block=self.config.max_block)
        found.counts["blocks cut to max_block"] = num_cut
        links = []
        for a, b in _near(compared, pairs):
            one, other = short[a], short[b]
            alike = likeness(self.names.forms[one], self.names.forms[other], self.names.kind)
            if alike.score >= self.config.review_at:
                links.append((one, other, alike))
        cosines = self._cosines(links)
        for (one, other, alike), cosine in zip(links, cosines, strict=True):
            yield from self._links(one, other, self._weighed(alike, one, other, cosine))

    def _links(self, one: str, other: str, alike: Likeness) -> Iterator[Link]:
        """Yield a link for each set that owns a key: several where people keep them apart."""
        for a in self._sides(one):
            for b in self._sides(other):
                if alike.score >= self.config.review_at:
                    first, second = sorted((a, b))
                    yield Link(first, second, "similar", alike.score, alike.evidence)

    def _sides(self, key: str) -> list[str]:
        return list({self.groups.root(one): one for one in reversed(self.names.owners[key])}
                    .values())  # fmt: skip

    def _weighed(self, alike: Likeness, one: str, other: str, cosine: float | None) -> Likeness:
        """Return a likeness with what items and vectors say added."""
        score, evidence = alike.score, alike.evidence
        if cosine is not None and score < self.config.accept_at:
            score, evidence = (score + cosine) / 2, f"{evidence}; vectors {cosine:.2f}"
        if self.shared is not None:
            change, told = self.shared.compare(self.names.owners[one], self.names.owners[other])
            if told:
                score, evidence = score + change, f"{evidence}; {told}"
            if change < 0:
                score = min(score, self.config.accept_at - 0.01)
        return Likeness(min(max(score, 0.0), 1.0), evidence)

    def _cosines(self, links: Sequence[tuple[str, str, Likeness]]) -> Sequence[float | None]:
        if self.vectors is None or not links:
            return [None] * len(links)
        keys = sorted({key for one, other, _ in links for key in (one, other)})
        vectors = np.asarray(self.vectors([self.names.spelled[key] for key in keys]), np.float32)
        if vectors.ndim != 2 or len(vectors) != len(keys) or not np.isfinite(vectors).all():
            raise ValueError(
                f"Expected finite vectors of shape ({len(keys)}, dim) for {len(keys)} names, got "
                f"shape {vectors.shape}; mend the function given as 'vectors'"
            )
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        place = {key: i for i, key in enumerate(keys)}
        return [float(vectors[place[one]] @ vectors[place[other]]) for one, other, _ in links]

    def _all_alike(self, link: Link) -> bool:
        """Whether each name of one side is at least ``review_at`` like each name of the other."""
        sides = [
            sorted({key for one in self.groups.members(end) for key in self.names.keys[one]})
            for end in (link.one, link.other)
        ]
        return all(self._like_enough(a, b) for a in sides[0] for b in sides[1])

    def _like_enough(self, one: str, other: str) -> bool:
        alike = likeness(self.names.forms[one], self.names.forms[other], self.names.kind)
        return alike.score >= self.config.review_at

    def _open(self, unsure: Sequence[Link]) -> Iterator[OpenPair]:
        """Yield one pair for each two sets, the surest, unless people keep the two apart."""
        seen: set[tuple[str, str]] = set()
        for link in unsure:
            roots = tuple(sorted((self.groups.root(link.one), self.groups.root(link.other))))
            pair = (roots[0], roots[1])
            if pair[0] == pair[1] or pair in seen or not self.groups.may_join(*pair):
                continue
            seen.add(pair)
            chained = link.score >= self.config.accept_at
            evidence = f"{link.evidence}; other names of the two differ" if chained else ""
            yield OpenPair(link.one, link.other, link.score, evidence or link.evidence)


def _near(names: Sequence[str], pairs: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the pairs whose words, as they stand or sorted, are worth the rules."""
    for start in range(0, len(pairs), _CHUNK):
        part = pairs[start : start + _CHUNK]
        sides = [names[a] for a in part[:, 0]], [names[b] for b in part[:, 1]]
        ratios = [process.cpdist(*sides, scorer=how) for how in (fuzz.ratio, fuzz.token_sort_ratio)]
        yield from map(tuple, part[np.maximum(*ratios) >= _COMPARED_FROM].tolist())
