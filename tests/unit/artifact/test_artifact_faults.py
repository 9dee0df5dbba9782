"""A damaged artifact is refused, and the error names the file: one byte flipped in each in turn."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from serving_data import SCORERS, make_artifact

from kgrec.artifact import load_artifact
from kgrec.artifact.manifest import files_below
from kgrec.errors import ArtifactError

FILES = (
    "graph/entities.parquet",
    "graph/relation_types.parquet",
    "graph/triples.parquet",
    "histories.parquet",
    "items.parquet",
    "manifest.json",
    "manifest.json.sha256",
    "pipeline/config.json",
    "pipeline/weights.safetensors",
    "users.parquet",
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy of a published artifact: tmp_path / "current" points to it."""
    shutil.copytree(pristine, tmp_path / pristine.name)
    shutil.copy(pristine.parent / "current", tmp_path / "current")
    return tmp_path / pristine.name


def test_the_list_of_files_is_whole(pristine: Path) -> None:
    assert files_below(pristine) == sorted(FILES)


@pytest.mark.parametrize("through_pointer", [False, True], ids=["folder", "pointer"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0], ids=["first", "middle", "last"])
@pytest.mark.parametrize("name", FILES)
def test_one_flipped_byte_is_refused(
    folder: Path, name: str, place: float, through_pointer: bool
) -> None:
    file = folder / name
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0x01
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=re.escape(file.name)) as caught:
        load_artifact(folder.parent / "current" if through_pointer else folder, scorers=SCORERS)
    assert "train and publish again" in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_refused(folder: Path, name: str) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=re.escape(file.name)):
        load_artifact(folder, scorers=SCORERS)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{re.escape(name)}, found none"):
        load_artifact(folder, scorers=SCORERS)


def test_every_flipped_bit_of_the_pointer_is_refused(folder: Path) -> None:
    pointer = folder.parent / "current"
    content = pointer.read_bytes()
    for place in range(len(content)):
        for bit in (0x01, 0x20, 0x80):
            damaged = bytearray(content)
            damaged[place] ^= bit
            pointer.write_bytes(damaged)
            with pytest.raises(ArtifactError, match="current"):
                load_artifact(pointer, scorers=SCORERS)


def test_file_that_is_not_listed_is_refused(folder: Path) -> None:
    (folder / "pipeline" / "extra.bin").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"found also .*extra\.bin.*immutable"):
        load_artifact(folder, scorers=SCORERS)


def test_dot_files_are_passed_over(folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(b"x")
    load_artifact(folder, scorers=SCORERS)


def test_last_digit_of_the_pointer_shows_in_the_message(folder: Path) -> None:
    pointer = folder.parent / "current"
    good = pointer.read_text()[-65:-1]
    bad = good[:-1] + ("0" if good[-1] != "0" else "1")
    pointer.write_text(pointer.read_text().replace(good, bad))
    with pytest.raises(ArtifactError, match=f"name the sha256 {good} .* got {bad}"):
        load_artifact(pointer, scorers=SCORERS)


def test_folder_of_a_run_is_told_from_its_pointer(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"the folder of a run; did you mean .*current\?"):
        load_artifact(folder.parent, scorers=SCORERS)


def test_nothing_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="make one with 'kgrec run'"):
        load_artifact(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"is .* an artifact"):
        load_artifact(tmp_path)
