"""What Prometheus is told: requests, latencies, rungs, swaps; no ids of users or items.

Several workers write into one folder, named by the environment, and whoever is asked tells of all:
counts are those of all workers since the service began, gauges those of the workers that live.
"""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MultiProcessValue

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_HUNG, _HUNG_MEANS = "kgrec_workers_hung", "Workers that hung and were killed."
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Measures:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "kgrec_http_requests_total",
            "Requests answered.",
            ["route", "status"],
            registry=registry,
        )
        self.latency = Histogram(
            "kgrec_http_request_seconds",
            "Time to answer.",
            ["route"],
            buckets=_BOUNDS_S,
            registry=registry,
        )
        self.served = Counter(
            "kgrec_served_total",
            "Answers by the rung that gave them.",
            ["route", "rung"],
            registry=registry,
        )
        self.refused = Counter(
            "kgrec_http_refused_total",
            "Requests refused before the model.",
            ["error"],
            registry=registry,
        )
        self.swaps = Counter(
            "kgrec_artifact_swaps_total", "Artifact changes.", ["outcome"], registry=registry
        )
        self.starts = Counter(
            "kgrec_worker_starts_total", "Processes that began to answer.", registry=registry
        )
        Counter(f"{_HUNG}_total", _HUNG_MEANS, registry=registry)  # the supervisor's to count
        self.state_faults = Counter(
            "kgrec_shared_state_faults_total",
            "How often Redis failed, was late, or had lost something.",
            registry=registry,
        )
        self.artifact = _gauge(
            registry, "kgrec_artifact_info", "Workers that answer from it.", "artifact_id"
        )
        self.users_from = _gauge(
            registry, "kgrec_users_from", "Workers by where events of users come from.", "source"
        )
        self.in_flight = _gauge(registry, "kgrec_http_in_flight", "Requests in the works.")
        self.cached = _gauge(registry, "kgrec_cached_answers", "Last answers in memory.")

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        if FOLDER not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def hung_workers() -> Any:
    """Return what a supervisor counts in the folder of its workers, which tell it with theirs."""
    value_class = MultiProcessValue()  # type: ignore[no-untyped-call]
    return value_class("counter", _HUNG, f"{_HUNG}_total", (), (), _HUNG_MEANS)


def _gauge(registry: CollectorRegistry, name: str, what: str, *labels: str) -> Gauge:
    return Gauge(name, what, labels, registry=registry, multiprocess_mode="livesum")


def move(gauge: Gauge, before: str, now: str) -> None:
    """Count this process under another label than before."""
    if before:
        gauge.labels(before).set(0)
    gauge.labels(now).set(1)
