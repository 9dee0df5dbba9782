"""What may not stand in the packages: words of one domain, machine paths, registry hosts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for top in ("graph_etl", "kgrec") for path in (ROOT / top).rglob("*.py"))
TEXTS = sorted(
    path
    for pattern in (
        *("graph_etl/**/*", "kgrec/**/*", "configs/**/*", "docs/**/*", "tests/**/*.py"),
        *("benchmarks/*.py", ".ci/*", "*.md", "*.toml", "*.txt", "Makefile", "NOTICE"),
    )
    for path in ROOT.glob(pattern)
    if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".html", ".css", ".sh", ".csv", ""}
    and path.is_file()
    and "__pycache__" not in path.parts
    and path != Path(__file__)
)
# Where public data to try things on is named; what is done with data stands elsewhere.
CATALOGUE_OF_PUBLIC_DATA = {"graph_etl/fetch/cache.py", "graph_etl/fetch/resources.py"}
DOMAIN_WORDS = re.compile(
    r"(?<![a-z])(film|films|movie|movies|movielens|cinema|actor|actors|actress|imdb|tmdb)(?![a-z])",
    re.IGNORECASE,
)
MACHINE_PATHS = re.compile(r"(?<![\w.~\-])/(tmp|work|home|root|Users)/[\w.]")
REGISTRY_HOSTS = re.compile(
    r"(pypi|pypi\.python|files\.pythonhosted|test\.pypi|repo\.maven\.apache|repo1\.maven"
    r"|registry\.npmjs|conda\.anaconda)\.(org|com)|index-url",
    re.IGNORECASE,
)


def texts_in_code(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Names and strings that a module works with; docstrings, which may give examples, are not."""
    docstrings = {
        id(one.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for one in node.body
        if isinstance(one, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node.lineno, node.value
        elif isinstance(node, ast.Name | ast.Attribute | ast.arg):
            yield node.lineno, getattr(node, "id", None) or getattr(node, "attr", None) or node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if relative(path) not in CATALOGUE_OF_PUBLIC_DATA],
    ids=relative,
)
def test_module_knows_nothing_of_one_domain(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [
        (line, word.group())
        for line, text in texts_in_code(tree)
        for word in DOMAIN_WORDS.finditer(text.replace("_", " "))
    ]
    assert found == [], f"{relative(path)}: move words of a domain into a mapping or config YAML"


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_text_names_no_machine_path_and_no_registry(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [
        (number, line.strip()[:100])
        for number, line in enumerate(lines, 1)
        if MACHINE_PATHS.search(line) or REGISTRY_HOSTS.search(line)
    ]
    assert found == []


def test_patterns_find_what_they_are_for():
    assert DOMAIN_WORDS.search("film.actor")
    assert not DOMAIN_WORDS.search("filmy factor factors")
    assert MACHINE_PATHS.search('open("/tmp/x")')
    assert not MACHINE_PATHS.search("runs/tmp/x or https://host/work/x")
    assert REGISTRY_HOSTS.search("https://pypi.org/simple")
