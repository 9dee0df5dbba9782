"""The dashboard asks for metrics that the service tells, by labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kgrec.http.measures import Measures

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "kgrec-dashboard.json"


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    measures = Measures()
    known = {
        sample
        for family in measures.registry.collect()
        for sample in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    used = {name for expr in asked for name in re.findall(r"kgrec_\w+", expr)}
    assert used <= known
    labels = {label for expr in asked for label in re.findall(r"by \((\w+)\)", expr)}
    assert labels <= {"route", "status", "rung", "error", "outcome", "le"}
    assert len({panel["id"] for panel in panels}) == len(panels)
