"""Entity resolution: which row of another table tells about which item of the catalogue."""

from graph_etl.resolution.link_config import METHODS, LinkConfig
from graph_etl.resolution.linking import LinkResult, link_items
from graph_etl.resolution.normalise import TitleForms, TitleWords, title_forms, title_key
from graph_etl.resolution.verdicts import Verdicts, load_verdicts

__all__ = [
    "METHODS",
    "LinkConfig",
    "LinkResult",
    "TitleForms",
    "TitleWords",
    "Verdicts",
    "link_items",
    "load_verdicts",
    "title_forms",
    "title_key",
]
