"""The web application: routes, what faults look like, health, metrics, the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from kgrec.errors import (
    EventLogError,
    KgrecError,
    RequestError,
    ServingStateError,
    UnknownItemError,
)
from kgrec.http.gate import Gate, RefusedError
from kgrec.http.measures import CONTENT_TYPE
from kgrec.http.responses import Fault, Health, Ready
from kgrec.http.routes import router
from kgrec.http.service import Service

_FAULTS: dict[int | str, dict[str, Any]] = {
    401: {"model": Fault, "description": "No valid API key."},
    403: {"model": Fault, "description": "The key lacks the scope."},
    404: {"model": Fault, "description": "An item that the artifact does not know."},
    408: {"model": Fault, "description": "The body did not come in time."},
    409: {"model": Fault, "description": "The service is not set up for this."},
    413: {"model": Fault, "description": "The body is too large."},
    422: {"model": Fault, "description": "The request is not well-formed."},
    429: {"model": Fault, "description": "Too many requests with this key; see Retry-After."},
    503: {"model": Fault, "description": "Stopping, overloaded, or a write failed; ask again."},
}
_MAX_TOLD = 5


def build_app(service: Service) -> Gate:
    """Return the ASGI application of a service; its lifespan starts and closes the service."""
    app = build_api(service)
    return Gate(app, service)


def build_api(service: Service | None = None) -> FastAPI:
    """Return the application without its gate; without a service it can tell its OpenAPI alone."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        assert service is not None
        service.start()
        yield
        service.close()

    # the pages of documentation would load scripts from another host
    app = FastAPI(
        title="kgrec",
        version=version("kgrec"),
        description="Recommendations that explain themselves, over HTTP.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    bearer = Depends(HTTPBearer(auto_error=False, description="kgrec keys add"))
    app.include_router(router, dependencies=[bearer], responses=_FAULTS)
    _add_status(app)
    app.exception_handler(RequestValidationError)(_not_well_formed)
    app.exception_handler(RefusedError)(_refused)
    app.exception_handler(HTTPException)(_http_fault)
    app.exception_handler(KgrecError)(_library_fault)
    app.exception_handler(Exception)(_broken)
    return app


def _add_status(app: FastAPI) -> None:
    @app.get("/health", responses={})
    async def health(request: Request) -> Health:
        """Tell that the process is alive."""
        service: Service = request.app.state.service
        source = service.recommender.users_from
        return Health(status="degraded" if source == "log" else "ok", users_from=source)

    @app.get("/ready", responses={503: {"model": Ready, "description": "It is stopping."}})
    async def ready(request: Request, response: Response) -> Ready:
        """Tell whether requests are welcome."""
        service: Service = request.app.state.service
        if service.draining:
            response.status_code = 503
        return Ready(
            status="draining" if service.draining else "ready",
            artifact_id=service.recommender.artifact_id,
        )

    @app.get("/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """Return the metrics as Prometheus reads them."""
        service: Service = request.app.state.service
        service.tell_measures()
        return Response(service.measures.text(), media_type=CONTENT_TYPE)


def _fault(
    request: Request, status: int, error: str, message: str, retry_after_s: int = 0
) -> JSONResponse:
    told = request.state.told
    told["error"] = error
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
    body = {"error": error, "message": message, "request_id": told["request_id"]}
    return JSONResponse(body, status, headers)


async def _not_well_formed(request: Request, error: Exception) -> JSONResponse:
    """Tell where the request is wrong, without its values: they may be NaN, huge or private."""
    assert isinstance(error, RequestValidationError)
    told = [f"{_place(fault)}: {fault['msg']}" for fault in error.errors()[:_MAX_TOLD]]
    message = f"Expected a body as /openapi.json describes, got {'; '.join(told)}"
    return _fault(request, 422, "bad_request", message.encode(errors="replace").decode())


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return _fault(request, error.status, error.error, str(error), error.retry_after_s)


async def _http_fault(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    words = {400: "bad_request", 404: "no_such_path", 405: "no_such_method"}
    word = words.get(error.status_code, "refused")
    # a body that is no JSON at all is as little well-formed as one of another shape
    status = 422 if error.status_code == 400 else error.status_code
    message = f"Expected a request as /openapi.json describes, got: {error.detail}"
    return _fault(request, status, word, message)


async def _library_fault(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnknownItemError):
        return _fault(request, 404, "unknown_item", str(error))
    if isinstance(error, RequestError):
        return _fault(request, 422, "bad_request", str(error))
    if isinstance(error, EventLogError | ServingStateError):
        message = "Expected to write to the disk, got a failure; it is in the log: ask again later"
        return _fault(request, 503, "write_failed", message, 5)
    return await _broken(request, error)


async def _broken(request: Request, error: Exception) -> JSONResponse:
    message = "Expected to answer, got a fault of the service; tell the request_id to who runs it"
    return _fault(request, 500, "broken", message)


def _place(fault: dict[str, Any]) -> str:
    """Return where a fault is; names of unknown fields are the caller's and cut short."""
    return ".".join(str(part)[:64] for part in fault["loc"])
