import subprocess
import sys
from pathlib import Path

import pytest

import graph_etl


def test_every_public_name_is_there():
    for name in graph_etl.__all__:
        assert getattr(graph_etl, name).__name__ == name
    assert dir(graph_etl) == sorted(graph_etl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        graph_etl.nothing  # noqa: B018


def test_importing_the_package_is_light():
    code = "import sys, graph_etl; print(sorted({'polars', 'pydantic'} & set(sys.modules)))"
    root = str(Path(__file__).parents[3])
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": root},
    )
    assert run.stdout.strip() == "[]"
