"""Starts the service: checks that it may, then serves in this process, or in several workers.

With several this process is their supervisor and loads none of the libraries that a model needs.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from kgrec.errors import ConfigError
from kgrec.http.heartbeat import Heartbeat
from kgrec.http.request_log import log_to, tell
from kgrec.http.settings import ServeConfig
from kgrec.http.supervisor import Patience, Supervisor
from kgrec.serving.live_redis import check_address


def serve(path: Path, config: ServeConfig, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve an artifact until a signal to stop comes.

    Args:
        path: Pointer file, which is watched, or artifact folder.
        config: Limits, folders and workers.
        host: Address to listen on.
        port: Port to listen on, 0 for any that is free.

    Raises:
        ConfigError: It may not start: no keys, keys open to others, workers without a Redis; or
            a worker cannot.
        ArtifactError: The artifact cannot be loaded.
    """
    check_may_start(config, host)
    log_to()
    if config.no_auth:
        tell("no keys: everybody on this machine may ask", level=logging.WARNING)
    if config.workers > 1:
        work = partial(_work, path, config, host, port)
        patience = Patience(config.start_timeout_s, config.hung_s, config.drain_timeout_s)
        Supervisor(work, config.workers, patience).run(host, port)
        return
    from kgrec.http.server import serve_alone

    serve_alone(path, config, host, port)


def _work(
    path: Path,
    config: ServeConfig,
    host: str,
    port: int,
    listener: socket.socket,
    news: Connection,
    heartbeat: Heartbeat,
) -> None:
    from kgrec.http.server import serve_as_worker

    serve_as_worker(path, config, host, port, listener, news, heartbeat)


def check_may_start(config: ServeConfig, host: str) -> None:
    """Refuse what would be open to strangers or answer from several truths.

    Raises:
        ConfigError: The message says what to do.
        MissingDependencyError: A Redis is named, and its library is not installed.
    """
    if config.redis is not None:
        check_address(config.redis)
    elif config.workers > 1:
        raise ConfigError(
            f"Expected a Redis for {config.workers} workers, got none: what users do would be "
            "known to one of them alone; name it with --redis redis://localhost:6379/0, or serve "
            "with one worker and raise 'threads'"
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
