"""Publishing and rolling back: readers see one version or the next, also after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from serving_data import SCORERS, make_artifact

from kgrec.artifact import ArtifactDetails, load_artifact, prune_artifacts, publish, rollback
from kgrec.artifact.pointer import resolve
from kgrec.errors import ArtifactError

TESTS = Path(__file__).parents[2]
# Forks once for each step and kills the child at that sync: os._exit runs no finally block and
# flushes nothing, as a kill does. What is left on disk is copied for the test to look at.
PRELUDE = """
import os, shutil, sys
from pathlib import Path
root, copies = Path(sys.argv[1]), Path(sys.argv[2])
sync = os.fsync

def killed_at(step, act):
    child = os.fork()
    if child == 0:
        calls = []
        def fsync(descriptor):
            calls.append(descriptor)
            if len(calls) == step:
                os._exit(77)
            sync(descriptor)
        os.fsync = fsync
        act()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    shutil.copytree(root, copies / f"{step}-{code}")
    return code
"""
PUBLISH = (
    PRELUDE
    + """
from kgrec.artifact.pointer import publish
folder = root / sys.argv[3]
before = {name: (root / name).read_bytes() for name in ("current", "current.history")}
for step in range(1, 6):
    killed_at(step, lambda: publish(folder, root / "current"))
    for name, content in before.items():
        (root / name).write_bytes(content)
"""
)
SAVE = (
    PRELUDE
    + """
from serving_data import make_artifact
for step in (1, 6, 12):
    killed_at(step, lambda: make_artifact(root))
"""
)


def run(script: str, *arguments: Path | str) -> None:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    command = [sys.executable, "-c", script, *map(str, arguments)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=True)


@pytest.fixture
def versions(tmp_path: Path) -> list[Path]:
    """Three artifacts of one root; the last is published last."""
    return [
        make_artifact(tmp_path, details=ArtifactDetails(config={"version": number}))
        for number in range(3)
    ]


def test_publish_then_rollback_twice(versions: list[Path]) -> None:
    pointer = versions[0].parent / "current"
    assert resolve(pointer)[0] == versions[2]
    assert rollback(pointer) == versions[1]
    assert resolve(pointer)[0] == versions[1]
    assert rollback(pointer) == versions[0]
    with pytest.raises(ArtifactError, match=r"current\.history, found none"):
        rollback(pointer)
    assert resolve(pointer)[0] == versions[0]


def test_what_was_rolled_back_is_not_gone_back_to(versions: list[Path]) -> None:
    pointer = versions[0].parent / "current"
    rollback(pointer)
    rollback(pointer)
    publish(versions[2], pointer)
    assert rollback(pointer) == versions[0]


def test_rollback_to_a_damaged_artifact_leaves_the_pointer(versions: list[Path]) -> None:
    pointer = versions[0].parent / "current"
    (versions[1] / "items.parquet").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"items\.parquet"):
        rollback(pointer)
    assert resolve(pointer)[0] == versions[2]


def test_damaged_artifact_is_never_published(versions: list[Path]) -> None:
    pointer = versions[0].parent / "current"
    (versions[1] / "users.parquet").unlink()
    with pytest.raises(ArtifactError, match=r"users\.parquet"):
        publish(versions[1], pointer)
    assert resolve(pointer)[0] == versions[2]


def test_pointer_may_stand_in_another_folder(versions: list[Path], tmp_path: Path) -> None:
    elsewhere = tmp_path / "runs" / "demo"
    elsewhere.mkdir(parents=True)
    publish(versions[0], elsewhere / "current")
    assert load_artifact(elsewhere / "current", scorers=SCORERS).artifact_id == versions[0].name


def test_readers_see_one_version_during_swaps(versions: list[Path]) -> None:
    pointer = versions[0].parent / "current"
    names = {folder.name for folder in versions}
    seen: set[str] = set()
    faults: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                artifact = load_artifact(pointer, scorers=SCORERS)
                assert artifact.artifact_id == artifact.path.name
                seen.add(artifact.artifact_id)
        except BaseException as fault:
            faults.append(fault)

    reader = threading.Thread(target=read)
    reader.start()
    for swap in range(40):
        publish(versions[swap % 3], pointer)
    done.set()
    reader.join()
    assert faults == []
    assert seen <= names
    assert len(seen) > 1


def test_publish_killed_at_any_sync(
    versions: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    copies = tmp_path_factory.mktemp("copies")
    run(PUBLISH, versions[0].parent, copies, versions[0].name)
    standing = {}
    for copy in sorted(copies.iterdir()):
        pointer = copy / "current"
        standing[copy.name] = load_artifact(pointer, scorers=SCORERS).artifact_id
        publish(copy / versions[0].name, pointer)
        assert resolve(pointer)[0].name == versions[0].name
        assert rollback(pointer).name == versions[2].name
        assert rollback(pointer).name == versions[1].name
    old, new = versions[2].name, versions[0].name
    assert standing == {"1-77": old, "2-77": old, "3-77": old, "4-77": new, "5-0": new}


def test_save_killed_leaves_nothing_readable_and_runs_again(tmp_path: Path) -> None:
    root, copies = tmp_path / "root", tmp_path / "copies"
    root.mkdir()
    run(SAVE, root, copies)
    assert sorted(copy.name for copy in copies.iterdir()) == ["1-77", "12-77", "6-77"]
    for copy in copies.iterdir():
        assert [path.name for path in copy.iterdir() if not path.name.startswith(".")] == []
        folder = make_artifact(copy)
        assert load_artifact(folder, scorers=SCORERS).path == folder


def test_pruning_keeps_the_published_and_the_last_ones(tmp_path: Path) -> None:
    folders = []
    for number in range(4):
        details = ArtifactDetails(config={"number": number})
        folders.append(make_artifact(tmp_path, details=details))
    rollback(tmp_path / "current")
    assert prune_artifacts(tmp_path, tmp_path / "current", 2) == tuple(
        sorted([folders[0], folders[3]])
    )
    assert resolve(tmp_path / "current")[0].resolve() == folders[2]
    assert folders[1].is_dir()
