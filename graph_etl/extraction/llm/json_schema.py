"""The JSON schema of an answer, out of a graph schema: only whitelisted patterns can be said.

Servers that decode under a schema cannot answer otherwise; what others answer is read just as
strictly in answers.py.
"""

from __future__ import annotations

from typing import Any

from graph_etl.extraction.llm.prompt import Form
from graph_etl.graph_schema import GraphSchema


def answer_schema(schema: GraphSchema, form: Form) -> dict[str, Any]:
    """Return the JSON schema of an answer.

    In the quoted form "relation" is a whole pattern ("film set_in place"), so that an enum holds
    the whitelist; in the compact form it is the relation alone, the types being those that the
    entities were given.
    """
    types = [one.name for one in schema.entity_types]
    text = {"type": "string"}
    if form == "compact":
        relations = list(dict.fromkeys(one.relation for one in schema.relation_types))
        entity = _tuple(text, {"type": "string", "enum": types})
        triple = _tuple(text, {"type": "string", "enum": relations}, text)
    else:
        patterns = [" ".join(one.pattern) for one in schema.relation_types]
        entity = _object(name=text, type={"type": "string", "enum": types})
        triple = _object(
            head=text, relation={"type": "string", "enum": patterns}, tail=text, evidence=text
        )
    return _object(
        entities={"type": "array", "items": entity}, triples={"type": "array", "items": triple}
    )


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _tuple(*items: Any) -> dict[str, Any]:
    return {
        "type": "array",
        "prefixItems": list(items),
        "minItems": len(items),
        "maxItems": len(items),
    }
