"""Nights in trouble: a full disk, a dead server, kills at any moment. What is published stands."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from night_shop import CONFIG, command, more_orders, night, shop

from graph_etl.builds import open_built_store
from kgrec.artifact import artifact_id_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shop(tmp_path_factory.mktemp("faults") / "shop")
    assert night(folder)["outcome"] == "published"
    return folder


@pytest.fixture
def after_first(published: Path, tmp_path: Path) -> Iterator[Path]:
    """The same shop at the same path again."""
    kept = tmp_path / "kept"
    shutil.copytree(published, kept)
    yield published
    shutil.rmtree(published)
    shutil.copytree(kept, published)


def pointers(folder: Path) -> list[bytes]:
    """What is published: the graph and the artifact."""
    out = folder / "out"
    return [file.read_bytes() for file in (out / "current", out / "graph/snapshots/current")]


@pytest.mark.parametrize(("share", "where"), [(0.5, "graph"), (1.5, "artifact")])
def test_a_full_disk_stops_the_night_and_room_lets_it_go_on(
    after_first: Path, share: float, where: str
) -> None:
    more_orders(after_first)
    tables = (after_first / "out").glob("graph/snapshots/snapshot-*/*.parquet")
    room = int(max(table.stat().st_size for table in tables) * share)
    before = pointers(after_first)
    done = subprocess.run(
        command(after_first),
        capture_output=True,
        text=True,
        check=False,
        # no file may grow further: the same to a program as a disk without room
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert "make room" in done.stderr
    assert ("graph: published" in done.stderr) is (where == "artifact")
    now = pointers(after_first)
    assert now[0] == before[0]
    assert (now[1] == before[1]) is (where == "graph")
    assert not list((after_first / "out").rglob(".staging*"))
    assert night(after_first)["outcome"] == "published"


def test_a_dead_graph_server_stops_the_night_and_all_stands(after_first: Path) -> None:
    more_orders(after_first)
    before = pointers(after_first)
    (after_first / "nightly.yaml").write_text(yaml.safe_dump(CONFIG | {"store": "neo4j"}))
    with socket.socket() as nobody:  # bound and not listening: connections are refused
        nobody.bind(("127.0.0.1", 0))
        server = {
            "NEO4J_URI": f"bolt://127.0.0.1:{nobody.getsockname()[1]}",
            "NEO4J_PASSWORD": "secret-word",
        }
        done = subprocess.run(
            command(after_first),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **server},
        )
    assert done.returncode == 2, done.stderr[-2000:]
    assert server["NEO4J_URI"] in done.stderr
    assert "secret-word" not in done.stderr
    assert pointers(after_first) == before


FAST = CONFIG | {
    "store": "kglite",
    "sources": ["popularity"],
    "pipeline": {"rankers": ["linear"]},
    "max_drop": 10.0,
    "p_value": 1e-9,
}
KILLS = int(os.environ.get("KGREC_KILLS", "6"))  # 20 take some ten minutes


def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    """Kills over several nights; graph, store and artifact as without any."""
    folder = shop(tmp_path / "shop", FAST)
    night(folder)
    shutil.copytree(folder, kept := tmp_path / "kept")
    draws = random.Random(0)
    nights, killed = 0, 0
    while killed < KILLS:
        more_orders(folder, nights)
        nights += 1
        while killed < KILLS:
            with subprocess.Popen(
                command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                try:
                    process.wait(draws.uniform(0.5, 12.0))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    killed += 1
            if process.returncode != -signal.SIGKILL:
                assert process.returncode == 0
                break
        night(folder)
    found = (artifact_id_of(folder / "out" / "current"), dump(folder))
    shutil.rmtree(folder)
    kept.rename(folder)
    for number in range(nights):
        more_orders(folder, number)
        night(folder)
    assert found == (artifact_id_of(folder / "out" / "current"), dump(folder))


def dump(folder: Path) -> list[str]:
    """Return all that the embedded store holds, in its canonical order."""
    with open_built_store(folder / "out" / "graph") as store:
        graph = store.export()
    return [part.write_json() for part in (graph.entities, graph.relation_types, graph.triples)]
