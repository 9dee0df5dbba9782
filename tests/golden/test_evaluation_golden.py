"""Numbers of the referee on a seeded small data set; change them only on purpose.

`make golden-update` (KGREC_UPDATE_GOLDEN=1) writes them anew: read the diff before committing it.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from evaluation_data import OpenLog, Popularity, random_dataset

from kgrec.data.splits import make_split
from kgrec.evaluation.beyond_accuracy import catalogue_facts
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.statistics import bootstrap_interval

GOLDEN = Path(__file__).with_name("evaluation_golden.json")


def measured() -> dict[str, Any]:
    data = random_dataset(num_users=80, num_items=90, seed=11)
    found: dict[str, Any] = {}
    for kind in ("global_time", "per_user_time", "new_users", "cold_items"):
        split = make_split(data, kind, seed=5)
        trained = split.interactions("train+val")
        facts = catalogue_facts(trained, data.num_items, split.graph().item_entity_matrix())
        found[kind] = {"train": len(split.interactions("train")), "train+val": len(trained)}
        tasks = split.open_test(OpenLog(), model="popularity", config_hash="0")
        for name, task in {**tasks, "validation": split.validation()[split.primary_slice]}.items():
            model = Popularity(trained if name in tasks else split.interactions("train"), 90)
            result = evaluate(model, task, num_items=90, catalogue=facts, seed=1)
            interval = bootstrap_interval(result.metrics["ndcg@20"], seed=2)
            found[kind][name] = {
                "users": len(result),
                "targets": result.num_targets,
                "ndcg@20 interval": [interval.low, interval.high],
                **result.means(),
            }
    return found


def test_evaluation_gives_the_golden_numbers() -> None:
    found = measured()
    if os.environ.get("KGREC_UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    expected = json.loads(GOLDEN.read_text())
    assert found.keys() == expected.keys()
    for kind, parts in expected.items():
        assert found[kind].keys() == parts.keys()
        for part, values in parts.items():
            if isinstance(values, int):
                assert found[kind][part] == values
                continue
            assert found[kind][part].keys() == values.keys()
            for name, value in values.items():
                assert found[kind][part][name] == pytest.approx(value, abs=1e-7), (kind, part, name)
