"""What Prometheus is told: requests, latencies, rungs, swaps; no ids of users or items."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
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
        self.artifact = Info("kgrec_artifact", "The artifact that answers.", registry=registry)
        self.in_flight = Gauge("kgrec_http_in_flight", "Requests in the works.", registry=registry)
        self.cached = Gauge("kgrec_cached_answers", "Last answers in memory.", registry=registry)

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self.registry)
