"""docs/reference/commands.md names every command there is and none that is not; so does README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from graph_etl.cli import app as graph_etl
from graph_etl.dataset_yaml import dataset_config_from
from kgrec.cli import app as kgrec

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/reference/commands.md", "docs/how-to/your-own-data.md")
APPS = {"kgrec": kgrec, "graph-etl": graph_etl}


def below(command: Any, name: str) -> Iterator[tuple[str, bool]]:
    """Each command's name, and whether it only holds others."""
    for word, one in getattr(command, "commands", {}).items():
        yield f"{name} {word}", hasattr(one, "commands")
        yield from below(one, f"{name} {word}")


def commands(*, groups: bool = False) -> set[str]:
    found = [one for name, app in APPS.items() for one in below(typer.main.get_command(app), name)]
    return {name for name, is_group in found if groups or not is_group}


def named_in(text: str, known: set[str]) -> set[str]:
    """What a page calls commands: known ones by their longest name, others by their first word."""
    found = set()
    for program, words in re.findall(r"(?<![\w/-])(kgrec|graph-etl)((?: [a-z0-9-]+)+)", text):
        parts = [program, *words.split()]
        names = [" ".join(parts[:end]) for end in range(len(parts), 1, -1)]
        found.add(next((name for name in names if name in known), names[-1]))
    return found


def test_the_page_of_commands_names_all_of_them() -> None:
    page = (ROOT / "docs/reference/commands.md").read_text()
    known = commands()
    assert len(known) > 15
    assert known - named_in(page, known) == set()


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_no_command_that_is_not(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    code = " ".join(re.findall(r"`[^`]+`|^    .*$", text, re.MULTILINE))
    known = commands(groups=True)
    assert named_in(code.replace(".venv/bin/", ""), known) - known == set()


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/your-own-data.md"])
def test_dataset_yaml_of_a_page_is_understood(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    shown = [yaml.safe_load(block) for block in blocks]
    whole = [fields for fields in shown if "interactions" in fields and "extends" not in fields]
    assert whole
    for fields in whole:
        assert dataset_config_from(fields, where=page).name
