"""The schema as numbers: entity types, relations, and which relation may join which types."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from graph_etl.errors import DataError
from graph_etl.extraction.gold import GoldDocument
from graph_etl.graph_schema import GraphSchema


class Labels:
    """Numbers of types and relations in the order of the schema.

    Attributes:
        schema: The whitelist.
        entity_types: Names; type t has class t + 1 among spans, class 0 is "no mention".
        relations: Names, each once.
        allowed: bool, shape (types, types, relations): head type, tail type, relation.
    """

    def __init__(self, schema: GraphSchema) -> None:
        self.schema = schema
        self.entity_types = [one.name for one in schema.entity_types]
        self.relations = list(dict.fromkeys(one.relation for one in schema.relation_types))
        self.type_index = {name: index for index, name in enumerate(self.entity_types)}
        self.relation_index = {name: index for index, name in enumerate(self.relations)}
        types = len(self.entity_types)
        self.allowed: npt.NDArray[np.bool_] = np.zeros((types, types, len(self.relations)), bool)
        for one in schema.relation_types:
            head, tail = self.type_index[one.head], self.type_index[one.tail]
            self.allowed[head, tail, self.relation_index[one.relation]] = True

    def check(self, gold: GoldDocument) -> None:
        """Raise DataError where a label is none of the schema's."""
        for one in gold.mentions:
            if one.entity_type not in self.type_index:
                raise DataError(
                    f"Expected mentions of the types {self.entity_types}, got '{one.entity_type}' "
                    f"in document '{gold.document.doc_id}'; add it to the graph schema"
                )
        patterns = {one.pattern for one in self.schema.relation_types}
        for relation in gold.relations:
            head, tail = gold.type_of(relation.head), gold.type_of(relation.tail)
            if (head, relation.relation, tail) not in patterns:
                raise DataError(
                    f"Expected relations of a pattern of the schema, got ({head}, "
                    f"{relation.relation}, {tail}) in document '{gold.document.doc_id}'; add it to "
                    "relation_types of the graph schema"
                )
