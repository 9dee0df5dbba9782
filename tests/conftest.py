"""Fixtures that every test may use, and the rule for skips in CI."""

import os
import platform
import sys
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["neo4j_fixtures", "llm_fixtures", "redis_fixtures"]

# In CI the same examples at every run: new ones are looked for on people's machines.
settings.register_profile("ci", derandomize=True)
if os.environ.get("KGREC_STRICT_SKIPS"):
    settings.load_profile("ci")

# A skip is allowed in CI only for what the machine cannot be given.
ALLOWED_SKIPS = ("KGREC_DATA_DIR", "CUDA", "faiss-gpu")

STATIC_TLS = "glibc.rtld.optional_static_tls"
ALL_TESTS = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Start a run of all tests anew with room for all libraries; no order of imports would do."""
    if platform.libc_ver()[0] != "glibc" or STATIC_TLS in os.environ.get("GLIBC_TUNABLES", ""):
        return
    asked = {(config.invocation_params.dir / argument).resolve() for argument in config.args}
    if asked & {ALL_TESTS, ALL_TESTS.parent}:
        given = os.environ.get("GLIBC_TUNABLES")
        tunables = f"{given}:{STATIC_TLS}=16384" if given else f"{STATIC_TLS}=16384"
        config.pluginmanager.getplugin("capturemanager").stop_global_capturing()
        command = [sys.executable, "-m", "pytest", *map(str, config.invocation_params.args)]
        os.execve(sys.executable, command, {**os.environ, "GLIBC_TUNABLES": tunables})


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; tests that ask for it skip where there is none."""
    folder = os.environ.get("KGREC_DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("KGREC_DATA_DIR is unset or not a folder: no real data on this machine")
    return Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """Fail a skip in CI whose tool could have been installed."""
    report = yield
    if report.skipped and os.environ.get("KGREC_STRICT_SKIPS") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
        if not any(word in reason for word in ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, though what it needs can be installed: {reason}"
    return report
