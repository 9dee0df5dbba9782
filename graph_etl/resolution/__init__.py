"""Entity resolution: rows of other tables to items, and spellings of one type to one entity.

Names are imported on first use, so that settings can be read without the libraries that compare.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph_etl.resolution.entity_config import ResolutionConfig
    from graph_etl.resolution.entity_merges import Entity, Merges, merge_entities
    from graph_etl.resolution.entity_names import NameForms, name_forms
    from graph_etl.resolution.entity_similarity import Likeness, likeness
    from graph_etl.resolution.link_config import METHODS, LinkConfig
    from graph_etl.resolution.linking import LinkResult, link_items
    from graph_etl.resolution.normalise import TitleForms, TitleWords, title_forms, title_key
    from graph_etl.resolution.verdicts import Verdicts, load_verdicts

_MODULE_OF = {
    "Entity": "entity_merges",
    "Likeness": "entity_similarity",
    "LinkConfig": "link_config",
    "LinkResult": "linking",
    "METHODS": "link_config",
    "Merges": "entity_merges",
    "NameForms": "entity_names",
    "ResolutionConfig": "entity_config",
    "TitleForms": "normalise",
    "TitleWords": "normalise",
    "Verdicts": "verdicts",
    "likeness": "entity_similarity",
    "link_items": "linking",
    "load_verdicts": "verdicts",
    "merge_entities": "entity_merges",
    "name_forms": "entity_names",
    "title_forms": "normalise",
    "title_key": "normalise",
}

__all__ = [
    "METHODS",
    "Entity",
    "Likeness",
    "LinkConfig",
    "LinkResult",
    "Merges",
    "NameForms",
    "ResolutionConfig",
    "TitleForms",
    "TitleWords",
    "Verdicts",
    "likeness",
    "link_items",
    "load_verdicts",
    "merge_entities",
    "name_forms",
    "title_forms",
    "title_key",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'graph_etl.resolution' has no attribute '{name}'")
    return getattr(import_module(f"graph_etl.resolution.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
