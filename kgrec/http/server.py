"""Runs the service: checks that it may start, loads the artifact, listens, and stops in order.

On SIGTERM or SIGINT new requests are told to ask elsewhere (503) while those in the works end;
then the port is closed. A second signal closes it at once.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from pathlib import Path
from types import FrameType

import uvicorn

from kgrec.errors import ConfigError
from kgrec.http.app import build_app
from kgrec.http.request_log import log_to, tell
from kgrec.http.service import Service
from kgrec.http.settings import ServeConfig
from kgrec.serving.recommender import Recommender


def serve(
    path: Path, config: ServeConfig, *, host: str = "127.0.0.1", port: int = 8000, workers: int = 1
) -> None:
    """Serve an artifact until a signal to stop comes.

    Args:
        path: Pointer file, which is watched, or artifact folder.
        config: Limits and folders.
        host: Address to listen on.
        port: Port to listen on, 0 for any that is free.
        workers: Processes; one alone for now.

    Raises:
        ConfigError: It may not start: no keys, keys open to others, more workers than one.
        ArtifactError: The artifact cannot be loaded.
    """
    check_may_start(config, host, workers)
    recommender = Recommender.load(path, event_log=config.event_log, state=config.state)
    service = Service(recommender, config, path)
    log_to()
    if config.no_auth:
        tell("no keys: everybody on this machine may ask", level=logging.WARNING)
    DrainingServer(service, host, port).run()


def check_may_start(config: ServeConfig, host: str, workers: int) -> None:
    """Refuse what would be open to strangers or answer from several truths.

    Raises:
        ConfigError: The message says what to do.
    """
    if workers != 1:
        raise ConfigError(
            f"Expected one worker, got {workers}: the event log has one writer, and what users do "
            "is kept in the memory of one process; raise 'threads' instead, or serve replicas "
            "that only read behind a balancer"
        )
    if config.keys is not None and config.no_auth:
        raise ConfigError("Expected a file of keys or --no-auth, got both; leave one out")
    if config.keys is None and not config.no_auth:
        raise ConfigError(
            "Expected a file of API keys, got none; make one with 'kgrec keys add FILE --scope "
            "read' and name it with --keys FILE, or say --no-auth on a loopback address"
        )
    if config.no_auth and not is_loopback(host):
        raise ConfigError(
            f"Expected a loopback address with --no-auth, got {host!r}, which others can reach; "
            "name a file of keys with --keys FILE"
        )


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class DrainingServer(uvicorn.Server):
    """Uvicorn's server, which first lets the requests in the works end.

    Args:
        service: What answers.
        host: Address to listen on.
        port: Port to listen on.
    """

    def __init__(self, service: Service, host: str, port: int) -> None:
        self.service = service
        self._asked_to_stop = 0.0
        super().__init__(
            uvicorn.Config(
                build_app(service),
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(service.config.drain_timeout_s) + 1,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; at the second signal stop at once."""
        if self.service.draining:
            self.should_exit = True
            return
        self._asked_to_stop = time.monotonic()
        self.service.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to close the port: asked to, and nothing is in the works."""
        if self.service.draining and not self.should_exit:
            since_s, config = time.monotonic() - self._asked_to_stop, self.service.config
            ended = self.service.in_flight == 0 and since_s >= config.drain_s
            if ended or since_s >= config.drain_timeout_s:
                tell("stopping", in_flight=self.service.in_flight)
                self.should_exit = True
        return await super().on_tick(counter)
