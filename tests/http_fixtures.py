"""A service over the made-up artifact of serving_data, asked in process through its whole app."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving_data import SCORERS
from starlette.testclient import TestClient

from kgrec import Recommender
from kgrec.http.app import build_app
from kgrec.http.service import Service
from kgrec.http.settings import ServeConfig


class Stalled(Recommender):
    """A recommender whose parts can be made slow, or to fail, while it serves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.go_on = threading.Event()
        self.go_on.set()
        self.fault: Exception | None = None
        self.popular_too = False

    def _suffer(self) -> None:
        self.go_on.wait(20)
        if self.fault is not None:
            raise self.fault

    def recommend(self, *args: Any, **kwargs: Any) -> Any:
        if self.popular_too or kwargs.get("history") != ():
            self._suffer()
        return super().recommend(*args, **kwargs)

    def recommend_many(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().recommend_many(*args, **kwargs)

    def similar(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().similar(*args, **kwargs)

    def search(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().search(*args, **kwargs)

    def explain(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().explain(*args, **kwargs)

    def user_vector(self, *args: Any, **kwargs: Any) -> Any:
        self._suffer()
        return super().user_vector(*args, **kwargs)


@contextmanager
def running(
    root: Path, *, kind: type[Recommender] = Recommender, **settings: Any
) -> Iterator[tuple[TestClient, Service]]:
    """A client of a service at root / "current"; the service is closed in the end."""
    config = ServeConfig(**{"rate_per_s": 1e6, "burst": 10**6, "poll_s": 0.02, **settings})
    recommender = kind.load(
        root / "current", event_log=config.event_log, state=config.state, scorers=SCORERS
    )
    service = Service(recommender, config, root / "current")
    with TestClient(build_app(service), raise_server_exceptions=False) as client:
        yield client, service
