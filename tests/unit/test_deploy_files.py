"""The files under deploy/ call the command there is, and systemd takes its units."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

from typer.testing import CliRunner

from kgrec.cli import app
from kgrec.http.settings import ServeConfig
from kgrec.http.supervisor import KILL_AFTER_S

DEPLOY = Path(__file__).parents[2] / "deploy"
NIGHT = ".venv/bin/kgrec nightly configs/nightly.yaml --out runs/nightly"


def units() -> dict[str, configparser.ConfigParser]:
    found = {}
    for file in sorted((DEPLOY / "systemd").iterdir()):
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str
        parser.read_string(file.read_text())
        found[file.name] = parser
    return found


def test_cron_and_systemd_start_the_same_night_at_the_same_time() -> None:
    service, timer = units()["kgrec-nightly.service"], units()["kgrec-nightly.timer"]
    assert service["Service"]["ExecStart"] == f"/srv/shop/{NIGHT}"
    assert service["Service"]["Type"] == "oneshot"
    assert timer["Timer"]["OnCalendar"] == "*-*-* 03:15:00"
    lines = (DEPLOY / "cron" / "kgrec-nightly").read_text().splitlines()
    (job,) = [line for line in lines if NIGHT in line]
    assert job.split()[:6] == ["15", "3", "*", "*", "*", "kgrec"]


def test_the_service_is_started_by_a_command_that_there_is() -> None:
    service = units()["kgrec-serve.service"]["Service"]
    program, *words = service["ExecStart"].split()
    assert program == "/srv/shop/.venv/bin/kgrec"
    done = CliRunner().invoke(app, [*words[:1], "--help"])
    assert done.exit_code == 0
    assert words == ["serve", "runs/nightly/current", "--config", "configs/serve.yaml"]
    config = ServeConfig.model_fields
    stops_within_s = config["drain_timeout_s"].default + KILL_AFTER_S
    assert int(service["TimeoutStopSec"]) > stops_within_s


def test_systemd_takes_the_units_where_it_is_there_to_ask(tmp_path: Path) -> None:
    for name in units():
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/srv/shop/.venv/bin/kgrec", "/bin/true"))
    if shutil.which("systemd-analyze"):
        command = ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
