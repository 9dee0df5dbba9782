"""Runs one process of the service: loads the artifact, listens, and stops in order.

On SIGTERM or SIGINT new requests are told to ask elsewhere (503) while those in the works end;
then the port is closed. A second signal closes it at once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

import uvicorn

from kgrec.errors import KgrecError
from kgrec.http.app import build_app
from kgrec.http.heartbeat import BEAT_S, Heartbeat
from kgrec.http.request_log import log_to, tell
from kgrec.http.service import Service
from kgrec.http.settings import ServeConfig
from kgrec.serving.recommender import Recommender


def serve_alone(path: Path, config: ServeConfig, host: str, port: int) -> None:
    """Serve as the one process there is, until a signal to stop comes.

    Raises:
        ArtifactError: The artifact cannot be loaded.
    """
    DrainingServer(_loaded(path, config), host, port).run()


def serve_as_worker(
    path: Path,
    config: ServeConfig,
    host: str,
    port: int,
    listener: socket.socket,
    news: Connection,
    heartbeat: Heartbeat,
) -> None:
    """Serve as one process of several until it is asked to stop, or its supervisor is gone.

    Args:
        path: Pointer file or artifact folder.
        config: Limits, folders and workers.
        host: Address of the socket.
        port: Its port.
        listener: The socket, which all workers share.
        news: Where it tells that it answers, or why it cannot.
        heartbeat: Where it shows that it lives.
    """
    os.setpgid(0, 0)  # an interrupt at the terminal is for the supervisor to pass on
    log_to()
    try:
        service = _loaded(path, config)
    except KgrecError as error:
        news.send(str(error))
        raise SystemExit(1) from None
    server = DrainingServer(
        service, host, port, started=lambda: news.send(None), heartbeat=heartbeat
    )
    parent = multiprocessing.parent_process()
    assert parent is not None

    def stop_with_parent() -> None:
        wait([parent.sentinel])
        server.handle_exit(signal.SIGTERM, None)

    threading.Thread(target=stop_with_parent, name="kgrec-parent", daemon=True).start()
    server.run(sockets=[listener])


def _loaded(path: Path, config: ServeConfig) -> Service:
    recommender = Recommender.load(
        path, event_log=config.event_log, state=config.state, shared=config.shared
    )
    recommender.prepare_explanations()
    return Service(recommender, config, path)


class DrainingServer(uvicorn.Server):
    """Uvicorn's server, which first lets the requests in the works end.

    Args:
        service: What answers.
        host: Address to listen on.
        port: Port to listen on.
        started: Called when it answers.
        heartbeat: Where it shows, from then on, that it lives.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        started: Callable[[], None] | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.service = service
        self._tell_started = started
        self._heartbeat = heartbeat
        self._beating: asyncio.Task[None] | None = None
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and tell so."""
        await super().startup(sockets)
        if self._heartbeat is not None:
            self._beating = asyncio.create_task(self._beat(self._heartbeat))
        if self.started and self._tell_started is not None:
            self._tell_started()

    async def _beat(self, heartbeat: Heartbeat) -> None:
        """Show that this loop goes round and the model comes back, as long as it is so."""
        while True:
            asked = self.service.ladder.asked_since
            heartbeat.beat(time.monotonic() if asked is None else asked)
            await asyncio.sleep(BEAT_S)

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
