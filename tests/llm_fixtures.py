"""A chat API whose behaviour a test scripts, on a real socket; a small model for tests marked llm.

The scripted server answers well by default: every word in capitals is a place where the film is
set.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "sk-verysecret-0123456789abcdef"


@dataclass
class Said:
    """What the server does with a request: bytes, slow ones, part of them, or none."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    promise: int | None = None  # Content-Length, where it is not the truth
    pause_s: float = 0.0  # before each byte
    wait_s: float = 0.0  # before all


@dataclass
class Asked:
    """A request as it came."""

    text: str  # what stands between the marks
    fields: dict[str, Any]
    headers: dict[str, str]


Script = Callable[[Asked, int], Said | None]


def completion(content: str | None, **more: Any) -> Said:
    """An answer in the form of the chat API."""
    finish = more.pop("finish_reason", "stop")
    usage = more.pop("usage", {"prompt_tokens": 100, "completion_tokens": 20})
    message = {"role": "assistant", "content": content, **more}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    return Said(json.dumps({**whole, "choices": [choice], "usage": usage}).encode())


def failed(status: int, message: str = "no", code: str | None = None, **headers: str) -> Said:
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return Said(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def places_answer(text: str) -> str:
    """What the server says by default."""
    names = list(dict.fromkeys(re.findall(r"\b[A-Z][A-Z0-9]+\b", text)))
    entities = [{"name": name, "type": "place"} for name in names]
    triples = [
        {"head": "@", "relation": "film set_in place", "tail": name, "evidence": name}
        for name in names
    ]
    return json.dumps({"entities": entities, "triples": triples})


class ScriptedServer:
    """Listens on a port of its own; ``calls`` is what it was asked, in order of arrival."""

    def __init__(self, script: Script | None = None) -> None:
        self.script: Script = script or (lambda asked, number: None)
        self.calls: list[Asked] = []
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server._serve(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *arguments: Any) -> None:
                pass  # clients that hang up are part of the tests

        self._http = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def texts(self) -> list[str]:
        return [call.text for call in self.calls]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        fields = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        if not handler.path.endswith("/chat/completions"):
            handler.send_error(404)
            return
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(shown_text(fields), fields, headers)
        with self._lock:
            number = len(self.calls)
            self.calls.append(asked)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self._say(handler, self.script(asked, number) or completion(places_answer(asked.text)))
        finally:
            with self._lock:
                self.at_once -= 1

    def _say(self, handler: BaseHTTPRequestHandler, said: Said) -> None:
        time.sleep(said.wait_s)
        handler.send_response(said.status)
        for name, value in {"Content-Type": "application/json", **said.headers}.items():
            handler.send_header(name, value)
        length = len(said.body) if said.promise is None else said.promise
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if said.pause_s:
            for byte in said.body:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(said.pause_s)
        else:
            handler.wfile.write(said.body)
        if length != len(said.body):
            handler.close_connection = True


def shown_text(fields: dict[str, Any]) -> str:
    """The text that a request shows, between its marks."""
    asked = fields["messages"][-1]["content"]
    found = re.search(r"^(===[0-9a-f]+)\n(.*)\n\1$", asked, re.DOTALL | re.MULTILINE)
    assert found is not None, asked
    return found[2]


@pytest.fixture
def chat_server():
    """A scripted server; set its ``script`` to make it misbehave."""
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def smollm2_server(tmp_path_factory):
    """SmolLM2-135M behind llama.cpp's server, on one thread."""
    from neo4j_fixtures import free_port

    from graph_etl.llm_server import down, up

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGREC_LLM_DIR", str(tmp_path_factory.mktemp("llm")))
        server = up(port=free_port(), context_tokens=2048, parallel=1, threads=1)
        yield server
        down(port=int(server.home.name))
