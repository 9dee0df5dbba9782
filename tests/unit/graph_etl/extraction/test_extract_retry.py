"""graph-etl extract retry: dead letters are shown, and let go."""

import json

from scripted_extraction import Scripted, film
from typer.testing import CliRunner

from graph_etl.cli import app
from graph_etl.extraction.build_step import LEDGER
from graph_etl.extraction.ledger import Ledger
from graph_etl.extraction.records import Answer, Failure


def retry(*arguments):
    return CliRunner().invoke(app, ["extract", "retry", *map(str, arguments)])


def buried(folder):
    with Ledger(folder / LEDGER) as ledger:
        for number in (1, 2):
            answer = Answer(
                f"film-{number}", "{", failure=Failure("invalid_json", "no \x1b[31mend")
            )
            ledger.bury(Scripted(), film(number, f"Set in PLACE{number}"), 3, answer)


def test_dead_letters_are_listed_and_stay(tmp_path):
    buried(tmp_path)
    shown = retry(tmp_path, "--list")
    assert shown.exit_code == 0
    assert "film-1  scripted  3 attempts  invalid_json" in shown.output
    assert "\x1b" not in shown.output
    assert len(json.loads(retry(tmp_path, "--list", "--json").output)["dead_letters"]) == 2


def test_one_document_or_all_are_let_go(tmp_path):
    buried(tmp_path)
    assert json.loads(retry(tmp_path, "--doc", "film-2", "--json").output)["retried"] == 1
    with Ledger(tmp_path / LEDGER) as ledger:
        assert [one.doc_id for one in ledger.dead_letters()] == ["film-1"]
    assert "1 are asked about again by the next build" in retry(tmp_path).output
    assert json.loads(retry(tmp_path, "--json").output) == {"retried": 0, "dead_letters": []}


def test_a_folder_without_answers_is_told(tmp_path):
    refused = retry(tmp_path)
    assert refused.exit_code == 2
    assert not (tmp_path / LEDGER).exists()
