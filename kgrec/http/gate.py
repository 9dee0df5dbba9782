"""What every request passes first: its id, keys, limits, and the line it leaves in the log.

It stands before the body is read as JSON, so that nobody without a key makes the service work.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kgrec.http.request_log import LOGGER, tell
from kgrec.http.service import Service

# what is needed for a path; one that is not listed needs the most
OPEN = frozenset({"/health", "/ready", "/openapi.json"})
SCOPE_OF = {
    "/metrics": "read",
    "/v1/recommend": "read",
    "/v1/recommend-many": "read",
    "/v1/similar": "read",
    "/v1/complementary": "read",
    "/v1/search": "read",
    "/v1/explain": "read",
    "/v1/vectors": "read",
    "/v1/observe": "write",
    "/v1/forget": "admin",
    "/v1/items/add": "admin",
    "/v1/items/remove": "admin",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BODY_TIMEOUT_S = 10.0
_RETRY_AFTER_S = 1


class RefusedError(Exception):
    """A request is not let through."""

    def __init__(self, status: int, error: str, message: str, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.retry_after_s = retry_after_s


class Gate:
    """The ASGI application around the application.

    Args:
        app: What answers the requests that are let through.
        service: Keys, limits and counts.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        told: dict[str, Any] = {"request_id": _request_id(scope), "status": 500}
        scope["state"] = {**scope.get("state", {}), "told": told}

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                header = (b"x-request-id", told["request_id"].encode())
                message = {**message, "headers": [*message.get("headers", []), header]}
            await send(message)

        self._service.in_flight += 1
        try:
            await self._pass(scope, receive, send_told, told)
        except RefusedError as refused:
            self._service.measures.refused.labels(refused.error).inc()
            told["error"] = refused.error
            await send_told(_start(refused))
            await send_told(_body(refused, told["request_id"]))
        finally:
            self._service.in_flight -= 1
            self._leave(scope, told, time.perf_counter() - began)

    async def _pass(
        self, scope: Scope, receive: Receive, send: Send, told: MutableMapping[str, Any]
    ) -> None:
        service, path = self._service, scope["path"]
        if path not in OPEN and path != "/metrics":
            if service.draining:
                raise RefusedError(
                    503,
                    "draining",
                    "Expected to ask a service that goes on, got one that is stopping; ask again",
                    _RETRY_AFTER_S,
                )
            if service.in_flight > service.config.max_in_flight:
                most = service.config.max_in_flight
                raise RefusedError(
                    503,
                    "overloaded",
                    f"Expected at most {most} requests in the works, got more; ask again",
                    _RETRY_AFTER_S,
                )
        self._let_in(scope, told)
        body = await self._whole_body(scope, receive)
        try:
            await self._app(scope, _replay(body, receive), send)
        except Exception:
            # the application has answered 500 by then; here it is told of
            LOGGER.exception(
                "a request failed", extra={"fields": {"request_id": told["request_id"]}}
            )

    def _let_in(self, scope: Scope, told: MutableMapping[str, Any]) -> None:
        """Check key, scope and rate."""
        service, path = self._service, scope["path"]
        is_open = path in OPEN or (path == "/metrics" and service.config.public_metrics)
        name = "anybody"
        if service.keys is not None and not is_open:
            key = service.keys.find(_secret(scope))
            if key is None:
                raise RefusedError(
                    401,
                    "no_key",
                    "Expected a valid API key as 'Authorization: "
                    "Bearer KEY', got none that is known, current and not revoked",
                )
            told["key_id"] = name = key.key_id
            needed = SCOPE_OF.get(path, "admin")
            if needed not in key.scopes:
                raise RefusedError(
                    403,
                    "no_scope",
                    f"Expected a key with the scope {needed!r}, got "
                    f"one with {', '.join(key.scopes)}; ask for another key",
                )
        if not is_open:
            wait_s = service.buckets.take(name)
            if wait_s:
                rate = service.config.rate_per_s
                raise RefusedError(
                    429,
                    "too_many",
                    f"Expected at most {rate:g} requests a second, got more; ask again later",
                    math.ceil(wait_s),
                )

    async def _whole_body(self, scope: Scope, receive: Receive) -> bytes:
        most = self._service.config.max_body_bytes
        too_large = RefusedError(
            413, "too_large", f"Expected a body of at most {most} bytes, got more; ask in parts"
        )
        length = _header(scope, b"content-length")
        if length.isdigit() and (len(length) > 18 or int(length) > most):
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body", False):
                        break
        except TimeoutError as error:
            raise RefusedError(
                408,
                "slow_body",
                "Expected the whole body within "
                f"{_BODY_TIMEOUT_S:g} s, got a part of it; send it again",
            ) from error
        return b"".join(parts)

    def _leave(self, scope: Scope, told: dict[str, Any], seconds: float) -> None:
        measures = self._service.measures
        route = getattr(scope.get("route"), "path", "none")
        measures.requests.labels(route, str(told["status"])).inc()
        measures.latency.labels(route).observe(seconds)
        for rung in told.pop("rungs", ()):
            measures.served.labels(route, rung).inc()
        level = logging.ERROR if told["status"] == 500 else logging.INFO
        milliseconds = round(1000 * seconds, 2)
        tell("request", level=level, method=scope["method"], route=route, ms=milliseconds, **told)


def _start(refused: RefusedError) -> Message:
    headers = [(b"content-type", b"application/json")]
    if refused.retry_after_s:
        headers.append((b"retry-after", str(refused.retry_after_s).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.status in (408, 413):  # the rest of the body is not read
        headers.append((b"connection", b"close"))
    return {"type": "http.response.start", "status": refused.status, "headers": headers}


def _body(refused: RefusedError, request_id: str) -> Message:
    fault = {"error": refused.error, "message": str(refused), "request_id": request_id}
    return {"type": "http.response.body", "body": json.dumps(fault).encode()}


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _header(scope: Scope, name: bytes) -> str:
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if values else ""


def _secret(scope: Scope) -> str:
    scheme, _, secret = _header(scope, b"authorization").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _request_id(scope: Scope) -> str:
    """Return the caller's id where it is harmless in a log, else a new one."""
    given = _header(scope, b"x-request-id")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
