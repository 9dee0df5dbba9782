"""The OpenAPI document: examples that are answered, a page that agrees with it, and no request
made from it that brings the service to a 500.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from http_fixtures import listening
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    response_schema_conformance,
    status_code_conformance,
)
from serving_data import make_artifact

from kgrec.http.app import build_api
from kgrec.http.gate import OPEN, SCOPE_OF
from kgrec.http.settings import ServeConfig

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"
DOCUMENT = build_api().openapi()
CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]
NUM_EXAMPLES = 15
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root)
    return root


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    folders = {"event_log": root / "log", "state": root / "state"}
    with listening(root, no_auth=True, timeout_s=30.0, **folders) as (url, _):
        yield url


@schema.parametrize()
@settings(
    max_examples=NUM_EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_out_of_the_document_breaks_the_service(case: Any, url: str) -> None:
    case.validate_response(case.call(base_url=url), checks=CHECKS)


def examples() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path, methods in DOCUMENT["paths"].items():
        if "post" in methods:
            content = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
            model = DOCUMENT["components"]["schemas"][content["$ref"].rpartition("/")[2]]
            assert model["examples"], path
            found += [(path, example) for example in model["examples"]]
    return found


@pytest.mark.parametrize(("path", "body"), examples())
def test_examples_are_well_formed(path: str, body: dict[str, Any], url: str) -> None:
    answer = httpx.post(url + path, json=body)
    # the made-up artifact knows none of the items, and has no vectors
    told = answer.json()
    assert answer.status_code == 200 or told["error"] == "unknown_item" or "vectors" in path, told


def test_every_answer_of_the_document_says_which_artifact_and_which_request() -> None:
    for path, methods in DOCUMENT["paths"].items():
        if "post" in methods:
            content = methods["post"]["responses"]["200"]["content"]["application/json"]
            model = DOCUMENT["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
            assert {"artifact_id", "request_id"} <= set(model["required"]), path
            assert {"401", "403", "413", "422", "429", "503"} <= set(methods["post"]["responses"])


def test_the_page_tells_every_path_scope_field_and_setting() -> None:
    page = PAGE.read_text()
    rows = dict(re.findall(r"^\| `(?:GET|POST) (/[^`]+)` \| (\w+) \|", page, re.MULTILINE))
    assert rows == {**dict.fromkeys(OPEN, "open"), **SCOPE_OF}
    for path, methods in DOCUMENT["paths"].items():
        if "post" in methods:
            content = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
            model = DOCUMENT["components"]["schemas"][content["$ref"].rpartition("/")[2]]
            (line,) = [line for line in page.splitlines() if f"`POST {path}`" in line]
            missing = [name for name in model["properties"] if f"`{name}`" not in line]
            assert missing == [], f"{path}: add these fields to the row of {PAGE.name}"
    defaults = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", page, re.MULTILINE))
    told = {name: field.default for name, field in ServeConfig.model_fields.items()}
    assert defaults == {name: str(value) for name, value in told.items()}
