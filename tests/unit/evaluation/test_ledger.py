"""The ledger remembers every opening and notices every change of an old line."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from evaluation_data import random_dataset

from kgrec.data.splits import make_split, test_forbidden
from kgrec.errors import TestLockError
from kgrec.evaluation.ledger import TestLedger


def opened(ledger: TestLedger, model: str = "ease", *, repeat: bool = False) -> None:
    ledger.record_opening(
        dataset="d", split="s", seed=0, checksum="c", model=model, config_hash="h", repeat=repeat
    )


def test_ledger_counts_openings_and_chains_them(tmp_path: Path) -> None:
    ledger = TestLedger(tmp_path / "runs" / "ledger.jsonl")
    assert ledger.count == 0
    opened(ledger, "a")
    head = ledger.head
    opened(ledger, "b")
    assert ledger.count == 2
    assert ledger.entries()[1]["previous"] == head
    assert ledger.includes(1, head)
    assert ledger.includes(2, ledger.head)
    assert not ledger.includes(2, head)


def test_ledger_refuses_a_second_opening_unless_it_is_logged_as_one(tmp_path: Path) -> None:
    ledger = TestLedger(tmp_path / "ledger.jsonl")
    opened(ledger)
    with pytest.raises(TestLockError, match="to be opened once for model 'ease'"):
        opened(ledger)
    assert ledger.count == 1
    opened(ledger, repeat=True)
    assert [entry["repeat"] for entry in ledger.entries()] == [False, True]


@pytest.mark.parametrize("change", ["alter", "drop", "swap", "rehash", "garbage"])
def test_ledger_notices_tampering(tmp_path: Path, change: str) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = TestLedger(path)
    for model in "abcd":
        opened(ledger, model)
    lines = path.read_text().splitlines()
    if change == "alter":
        lines[1] = lines[1].replace('"model": "b"', '"model": "x"')
    elif change == "drop":
        del lines[1]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "rehash":  # a forger who makes the line itself sound breaks the next one
        from kgrec.evaluation.ledger import _hash_of

        entry = json.loads(lines[1]) | {"model": "x"}
        lines[1] = json.dumps(entry | {"hash": _hash_of(entry)}, sort_keys=True)
    else:
        lines[1] = "{"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(TestLockError, match="altered line"):
        ledger.entries()
    with pytest.raises(TestLockError, match="altered line"):
        opened(ledger, "e")


def test_ledger_cut_off_at_the_end_no_longer_includes_what_records_say(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = TestLedger(path)
    for model in "ab":
        opened(ledger, model)
    count, head = ledger.count, ledger.head
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert ledger.count == 1
    assert not ledger.includes(count, head)


def test_ledger_takes_openings_of_many_threads(tmp_path: Path) -> None:
    ledger = TestLedger(tmp_path / "ledger.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: opened(ledger, str(n)), range(24)))
    assert ledger.count == 24


def test_open_test_writes_into_the_ledger_and_tuning_does_not(tmp_path: Path) -> None:
    split = make_split(random_dataset(), "per_user_time")
    ledger = TestLedger(tmp_path / "ledger.jsonl")
    with test_forbidden("tuning"), pytest.raises(TestLockError):
        split.open_test(ledger, model="ease", config_hash="h")
    assert ledger.count == 0
    split.open_test(ledger, model="ease", config_hash="h")
    assert ledger.entries()[0]["checksum"] == split.checksum
    with pytest.raises(TestLockError, match="opened once"):
        split.open_test(ledger, model="ease", config_hash="h")
