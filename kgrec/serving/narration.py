"""The facts that two items share, chosen and told in one sentence; it knows no relation by name."""

from __future__ import annotations

from collections.abc import Sequence

from kgrec.data.graph import KnowledgeGraph
from kgrec.serving import wording
from kgrec.serving.answers import Edge
from kgrec.serving.paths import SharedFact

_Role = tuple[str, bool]  # phrase, whether the item is its head


class Narrator:
    """Tells shared facts in words.

    Args:
        graph: The train-time graph.
        max_names: Entities named for each way of relating.
        max_groups: Ways of relating told in one sentence.
    """

    def __init__(self, graph: KnowledgeGraph, max_names: int, max_groups: int) -> None:
        self._graph = graph
        self._max_names = max_names
        self._max_groups = max_groups

    def tell(self, facts: Sequence[SharedFact]) -> tuple[str, list[int]]:
        """Return a sentence, and the rows of the triples it tells of.

        Args:
            facts: Ways between one liked item and one candidate, those that say most first; not
                empty.
        """
        alike = [fact for fact in facts if self._role(fact) is not None]
        if not alike or len(facts[0].triples) == 1:
            return self._step_by_step(facts[0])
        groups = self._groups(alike)
        told = [fact for members in groups.values() for fact in members]
        forward, backward = [], []
        for roles, members in groups.items():
            names = list(dict.fromkeys(self._name(fact.entity) for fact in members))
            phrases = [phrase for phrase, _ in roles]
            if roles[0][1]:
                forward.append(wording.both_share(phrases, names))
            else:
                backward.append(wording.touch_both(phrases, names))
        sentences = [*(f"both {clause}" for clause in forward), *backward]
        return wording.listed(sentences), [row for fact in told for row in fact.triples]

    def edge(self, triple: int) -> Edge:
        """Return a triple by its ids."""
        graph = self._graph
        return Edge(
            str(graph.entity_ids[graph.head[triple]]),
            graph.relations[graph.relation[triple]],
            str(graph.entity_ids[graph.tail[triple]]),
        )

    def edge_text(self, triple: int) -> str:
        """Return a triple in words."""
        graph = self._graph
        return wording.fact(
            self._name(int(graph.head[triple])),
            graph.phrases[graph.relation[triple]],
            self._name(int(graph.tail[triple])),
        )

    def _groups(self, facts: Sequence[SharedFact]) -> dict[tuple[_Role, ...], list[SharedFact]]:
        """Return the facts to tell by how both items relate to the entity, the best first."""
        of_entity: dict[int, list[SharedFact]] = {}
        for fact in facts:
            of_entity.setdefault(fact.entity, []).append(fact)
        groups: dict[tuple[_Role, ...], list[int]] = {}
        # an entity that the items share in several ways (directed by, written by) comes first
        worth = {entity: sum(f.weight for f in members) for entity, members in of_entity.items()}
        for entity in sorted(of_entity, key=lambda entity: -worth[entity]):
            members = of_entity[entity]
            roles = {role for fact in members if (role := self._role(fact)) is not None}
            # one sentence cannot have the items as heads and tails at once
            direction = max(is_head for _, is_head in roles)
            same = tuple(sorted(role for role in roles if role[1] == direction))
            groups.setdefault(same, []).append(entity)
        chosen = list(groups.items())[: self._max_groups]
        return {
            roles: [
                fact
                for entity in entities[: self._max_names]
                for fact in of_entity[entity]
                if self._role(fact) in roles
            ]
            for roles, entities in chosen
        }

    def _step_by_step(self, fact: SharedFact) -> tuple[str, list[int]]:
        steps = [self.edge_text(triple) for triple in fact.triples]
        return wording.listed(steps), list(fact.triples)

    def _role(self, fact: SharedFact) -> _Role | None:
        """Return how both items relate to the entity, None where they do in two ways."""
        if len(fact.triples) != 2:
            return None
        first, second = (self._role_in(triple, fact.entity) for triple in fact.triples)
        return first if first == second else None

    def _role_in(self, triple: int, entity: int) -> _Role:
        phrase = self._graph.phrases[self._graph.relation[triple]]
        return phrase, int(self._graph.tail[triple]) == entity

    def _name(self, entity: int) -> str:
        return str(self._graph.entity_names[entity]) or str(self._graph.entity_ids[entity])
