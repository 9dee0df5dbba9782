"""graph-etl extract run, killed at random moments and started again: as if it had never stopped."""

from __future__ import annotations

import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from llm_fixtures import Asked, Said, ScriptedServer, completion, places_answer
from scripted_extraction import schema

from graph_etl.extraction.build_step import LEDGER
from graph_etl.extraction.ledger import Ledger

pytestmark = pytest.mark.slow

TEXTS = 120
AT_ONCE = 4
ATTEMPTS = 3
KILLS = 7


def script(asked: Asked, number: int) -> Said:
    """Every 10th text gets one bad answer, text 7 nothing else; what is said depends on the asking
    alone, so that a run that was stopped hears the same as any other."""
    place = int(re.findall(r"PLACE(\d+)", asked.text)[0])
    is_bad = place == 7 or (place % 10 == 0 and asked.fields["seed"] == 0)
    content = "I would rather not." if is_bad else places_answer(asked.text)
    return Said(completion(content).body, wait_s=0.02)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer(script)
    yield server
    server.close()


@pytest.fixture
def files(tmp_path: Path, server: ScriptedServer) -> Path:
    settings = {"base_url": server.url, "concurrency": AT_ONCE, "first_wait_s": 0.01}
    (tmp_path / "llm.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "graph_schema.yaml").write_text(yaml.safe_dump(schema().model_dump()))
    texts = [
        {"doc_id": f"film-{i}", "text": f"A story set in PLACE{i}.", "subject_id": f"film:{i}",
         "subject_type": "film", "subject_name": f"Film {i}"}
        for i in range(TEXTS)
    ]  # fmt: skip
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in texts))
    return tmp_path


def command(files: Path, out: str) -> list[str]:
    return [
        sys.executable, "-m", "graph_etl.cli", "extract", "run",
        "--texts", str(files / "texts.jsonl"), "--schema", str(files / "graph_schema.yaml"),
        "--engine", "llm=m", "--settings", str(files / "llm.yaml"),
        "--out", str(files / out), "--json",
    ]  # fmt: skip


def run(files: Path, out: str) -> dict[str, Any]:
    done = subprocess.run(command(files, out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def killed(files: Path, out: str, server: ScriptedServer, calls: int, wait_s: float) -> bool:
    """Start a run and kill it ``wait_s`` after so many more calls; False where it ended first."""
    until = len(server.calls) + calls
    with subprocess.Popen(
        command(files, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and len(server.calls) < until:
            time.sleep(0.001)
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode == -signal.SIGKILL


def kept(out: Path, verdict: str = "%") -> Counter[str]:
    """Return how many answers the ledger holds of each document."""
    if not (out / LEDGER).is_file():
        return Counter()
    with closing(sqlite3.connect(out / LEDGER)) as ledger:
        rows = ledger.execute("SELECT doc_id FROM answers WHERE verdict LIKE ?", (verdict,))
        return Counter(doc_id for (doc_id,) in rows)


def dead_letters(out: Path) -> list[tuple[str, int]]:
    with Ledger(out / LEDGER) as ledger:
        return [(one.doc_id, one.attempts) for one in ledger.dead_letters()]


def asked(server: ScriptedServer) -> Counter[str]:
    while server.at_once:  # a call that a killed run left behind is still being answered
        time.sleep(0.01)
    return Counter("film-" + re.findall(r"PLACE(\d+)", text)[0] for text in server.texts)


def test_kills_at_random_moments_cost_no_finished_call_and_change_no_result(
    files: Path, server: ScriptedServer
) -> None:
    whole = run(files, "whole")
    needed = asked(server)
    assert sum(needed.values()) == TEXTS + TEXTS // 10 + ATTEMPTS - 1
    server.calls.clear()
    draws = random.Random(0)
    kills, lost, before = 0, 0, Counter[str]()
    moments = [(0, 0.3), *((draws.randint(1, 22), draws.uniform(0, 0.05)) for _ in range(KILLS))]
    for calls, wait_s in moments:
        if not killed(files, "out", server, calls, wait_s):
            break  # nothing was left to ask
        kills += 1
        now, found = asked(server), kept(files / "out")
        assert found >= before
        # what was asked and is not kept was under way, or on its way to the ledger
        assert sum((now - found).values()) - lost <= 2 * AT_ONCE
        lost, before = sum((now - found).values()), found
    assert kills >= 5
    answered = len(kept(files / "out", "valid"))
    resumed = run(files, "out")
    # each answer that is kept was asked for once: what was asked beside it was cut off by a kill
    assert sum((asked(server) - kept(files / "out")).values()) == lost
    assert kept(files / "out") == kept(files / "whole")

    [line], [uninterrupted] = resumed["engines"], whole["engines"]
    assert line["items_in"] == TEXTS == line["extracted"] + line["cached"] + line["dead_lettered"]
    assert (line["cached"], line["dead_lettered"]) == (answered, 1)
    for name in ("mentions", "triples", "rejected"):
        assert line[name] == uninterrupted[name]
    results = [(files / out / "triples.jsonl").read_bytes() for out in ("whole", "out")]
    assert results[0] == results[1]
    assert results[0].count(b"\n") == TEXTS - 1
    assert dead_letters(files / "out") == dead_letters(files / "whole") == [("film-7", ATTEMPTS)]
    server.calls.clear()
    assert run(files, "out")["engines"][0]["cached"] == TEXTS - 1
    assert server.calls == []
