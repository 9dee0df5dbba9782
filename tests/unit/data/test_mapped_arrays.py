"""Mapped arrays are those of the file, and what is written into them never reaches it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from kgrec.data.mapped_arrays import mapped_arrays


def _written(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "flags": rng.random(7) < 0.5,
        "codes": rng.integers(9, size=(3, 5)).astype(np.int32),
        "counts": rng.integers(9, size=11),
        "empty": np.empty((0, 4), dtype=np.float32),
        "values": rng.random((4, 6)).astype(np.float32),
        "wide": rng.random(3),
    }
    save_file(arrays, folder / "arrays.safetensors", metadata={"name": "x"})
    return folder / "arrays.safetensors"


def test_mapped_arrays_are_those_of_the_file(tmp_path: Path) -> None:
    file = _written(tmp_path)
    found, expected = mapped_arrays(file), load_file(file)
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].flags.aligned
        np.testing.assert_array_equal(found[name], array)


def test_what_is_written_into_a_mapped_array_stays_out_of_the_file(tmp_path: Path) -> None:
    file = _written(tmp_path)
    before = file.read_bytes()
    array = mapped_arrays(file)["values"]
    array[:] = -1.0
    assert (array == -1.0).all()
    assert file.read_bytes() == before
    assert (mapped_arrays(file)["values"] >= 0.0).all()


@pytest.mark.parametrize("lost", [1, 200])
def test_a_file_cut_short_is_refused(tmp_path: Path, lost: int) -> None:
    file = _written(tmp_path)
    file.write_bytes(file.read_bytes()[:-lost])
    with pytest.raises(ValueError, match=r"Expected .* numbers of"):
        mapped_arrays(file)
