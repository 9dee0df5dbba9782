"""Keys are shown once, kept as hashes, refused when wrong, revoked or expired, and never logged."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_fixtures import running
from serving_data import make_artifact
from typer.testing import CliRunner

from kgrec.cli import app
from kgrec.errors import ConfigError
from kgrec.http.gate import OPEN, SCOPE_OF
from kgrec.http.keys import KeyFile, KeyRing
from kgrec.http.rate_limit import TokenBuckets
from kgrec.http.request_log import log_to
from kgrec.http.settings import ServeConfig, load_serve_config
from kgrec.http.start import check_may_start

DAY_S = 86_400


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    names = ("kgrec", "uvicorn")
    before = {name: logging.getLogger(name).__dict__.copy() for name in names}
    log_to(stream)
    yield stream
    for name in names:
        logging.getLogger(name).__dict__.update(before[name])


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_key_is_found_until_it_expires_or_is_revoked(file: Path) -> None:
    secret, made = KeyFile(file).add(("read", "write"), days=1, note="shop")
    other, _ = KeyFile(file).add(("read",))
    ring = KeyRing(KeyFile(file))
    assert ring.find(secret) == made
    assert ring.find(other) is not None
    assert ring.find(secret, made.created + DAY_S - 1) == made
    assert ring.find(secret, made.created + DAY_S) is None
    for wrong in (
        "",
        "x",
        secret[:-1],
        secret + "x",
        secret.replace(made.key_id, "0" * 12),
        "ké\udcff",
    ):
        assert ring.find(wrong) is None
    KeyFile(file).revoke(made.key_id)
    assert ring.find(secret) == made
    assert ring.refresh()
    assert not ring.refresh()
    assert ring.find(secret) is None
    assert ring.find(other) is not None


def test_the_file_holds_no_secret_and_is_the_owners_alone(file: Path) -> None:
    secret, _ = KeyFile(file).add(("read",))
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret.split("_", 2)[2] not in file.read_text()
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="Expected mode 0600"):
        KeyFile(file).read()
    file.chmod(0o600)
    file.write_text('{"keys": [{"key_id": "x"}]}')
    with pytest.raises(ConfigError, match="restore it from a copy"):
        KeyFile(file).read()
    with pytest.raises(ConfigError, match="found none"):
        KeyFile(file.with_name("other.json")).read()


def test_a_ring_keeps_its_keys_where_the_file_is_spoilt(file: Path) -> None:
    secret, _ = KeyFile(file).add(("read",))
    ring = KeyRing(KeyFile(file))
    file.write_text("{")
    with pytest.raises(ConfigError):
        ring.refresh()
    assert ring.find(secret) is not None


def test_commands_make_list_and_revoke_keys(file: Path) -> None:
    run = CliRunner().invoke
    made = run(
        app, ["keys", "add", str(file), "--scope", "read", "--scope", "admin", "--note", "me"]
    )
    secret = made.stdout.strip()
    key_id = secret.split("_")[1]
    listed = run(app, ["keys", "list", str(file)]).stdout
    assert listed.split("\t")[:3] == [key_id, "valid", "read,admin"]
    assert secret.split("_", 2)[2] not in listed
    assert run(app, ["keys", "revoke", str(file), key_id]).exit_code == 0
    assert "revoked" in run(app, ["keys", "list", str(file)]).stdout
    assert '"revoked"' in run(app, ["keys", "list", str(file), "--json"]).stdout
    assert run(app, ["keys", "revoke", str(file), "no"]).exit_code == 2
    assert run(app, ["keys", "add", str(file), "--scope", "all"]).exit_code == 2
    assert run(app, ["keys", "add", str(file), "--scope", "read", "--days", "nan"]).exit_code == 2


def test_a_service_may_not_start_open_to_strangers(file: Path) -> None:
    with pytest.raises(ConfigError, match="Expected a file of API keys"):
        check_may_start(ServeConfig(), "127.0.0.1")
    check_may_start(ServeConfig(no_auth=True), "127.0.0.1")
    check_may_start(ServeConfig(keys=file), "0.0.0.0")
    for host in ("0.0.0.0", "::", "192.168.1.5", "shop.example"):
        with pytest.raises(ConfigError, match="Expected a loopback address"):
            check_may_start(ServeConfig(no_auth=True), host)
    with pytest.raises(ConfigError, match="got both"):
        check_may_start(ServeConfig(no_auth=True, keys=file), "127.0.0.1")
    with pytest.raises(ConfigError, match="Expected a Redis for 2 workers, got none"):
        check_may_start(ServeConfig(keys=file, workers=2), "127.0.0.1")
    check_may_start(ServeConfig(keys=file, workers=2, redis="redis://nowhere"), "127.0.0.1")


def test_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(app, ["serve", str(tmp_path), "--no-auth"])
    assert done.exit_code == 2
    assert 'pip install "kgrec[http]"' in done.stderr


def test_settings_are_read_relative_to_their_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("keys: keys.json\nmax_k: 20\n")
    assert load_serve_config(file) == ServeConfig(keys=tmp_path / "keys.json", max_k=20)
    file.write_text("max_kk: 20\n")
    with pytest.raises(ConfigError, match="max_kk"):
        load_serve_config(file)
    file.write_text("- 1\n")
    with pytest.raises(ConfigError, match="Expected a mapping"):
        load_serve_config(file)
    with pytest.raises(ConfigError, match="as YAML"):
        load_serve_config(tmp_path / "none.yaml")


def test_each_key_may_do_what_its_scopes_say(tmp_path: Path, log_lines: io.StringIO) -> None:
    make_artifact(tmp_path)
    file = tmp_path / "keys.json"
    reader, known = KeyFile(file).add(("read",))
    writer, _ = KeyFile(file).add(("write",))
    admin, _ = KeyFile(file).add(("admin",))
    folders = {"event_log": tmp_path / "log", "state": tmp_path / "state"}
    bodies = {
        "read": ("recommend", {"user_id": "user-0"}),
        "write": ("observe", {"events": [{"user_id": "user-0", "item_id": "item-0"}]}),
        "admin": ("forget", {"user_id": "user-0"}),
    }
    with running(tmp_path, keys=file, **folders) as (client, service):
        for scope, secret in (("read", reader), ("write", writer), ("admin", admin)):
            for needed, (path, body) in bodies.items():
                answer = client.post(f"/v1/{path}", json=body, headers=bearer(secret))
                assert answer.status_code == (200 if scope == needed else 403)
        for headers in ({}, bearer(reader[:-1]), {"Authorization": f"Basic {reader}"}):
            answer = client.post("/v1/recommend", content=b"not read", headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "no_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=bearer(reader)).status_code == 200
        assert client.get("/v1/nothing", headers=bearer(reader)).status_code == 403
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        assert client.get("/openapi.json").status_code == 200
        KeyFile(file).revoke(known.key_id)
        service.look()
        answer = client.post("/v1/recommend", json={"user_id": "user-0"}, headers=bearer(reader))
        assert answer.status_code == 401
    text = log_lines.getvalue()
    assert known.key_id in text
    for secret in (reader, writer, admin):
        assert secret.split("_", 2)[2] not in text
    assert "user-0" not in text


def test_every_path_has_a_scope_or_is_open(tmp_path: Path) -> None:
    from kgrec.http.app import build_api

    paths = set(build_api().openapi()["paths"]) | {"/openapi.json"}
    assert paths == OPEN | set(SCOPE_OF)


def test_a_bucket_holds_a_burst_and_fills_again() -> None:
    buckets = TokenBuckets(rate_per_s=2.0, burst=3)
    assert [buckets.take("a", 10.0) for _ in range(3)] == [0.0] * 3
    assert buckets.take("a", 10.0) == pytest.approx(0.5)
    assert buckets.take("b", 10.0) == 0.0
    assert buckets.take("a", 10.5) == 0.0
    assert buckets.take("a", 10.5) > 0
    assert [buckets.take("a", 1000.0) for _ in range(4)][2:] == [0.0, pytest.approx(0.5)]


def test_a_key_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    file = tmp_path / "keys.json"
    (one, _), (two, _) = KeyFile(file).add(("read",)), KeyFile(file).add(("read",))
    with running(tmp_path, keys=file, rate_per_s=0.001, burst=2) as (client, _):
        body = {"user_id": "user-0"}
        told = [client.post("/v1/recommend", json=body, headers=bearer(one)) for _ in range(3)]
        assert [answer.status_code for answer in told] == [200, 200, 429]
        assert 900 < int(told[2].headers["retry-after"]) <= 1000
        assert client.post("/v1/recommend", json=body, headers=bearer(two)).status_code == 200
        assert client.get("/health", headers=bearer(one)).status_code == 200


def test_an_exception_is_logged_without_its_text(log_lines: io.StringIO) -> None:
    try:
        raise ValueError("user-0 did it")
    except ValueError:
        logging.getLogger("kgrec.http").exception("a call failed")
    assert '"exception": "ValueError"' in log_lines.getvalue()
    assert os.path.basename(__file__) in log_lines.getvalue()
    assert "user-0" not in log_lines.getvalue()
