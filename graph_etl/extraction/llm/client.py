"""One request to the chat API and what came of it: the only module that uses openai.

Whether to ask again, and when, is decided in calls.py. No key, and no address with a password in
it, leaves this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from graph_etl.errors import ExtractionError, MissingDependencyError

_TOLD_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said.

    Attributes:
        content: Its words.
        refusal: Why it says nothing; "" where it does not refuse.
        was_cut: Whether it reached the limit of tokens.
        prompt_tokens, completion_tokens: As the service counts them; None where it does not say.
    """

    content: str
    refusal: str = ""
    was_cut: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class CallError(Exception):
    """A request that brought no reply.

    Args:
        kind: As Failure.kind.
        told: In words, without secrets.
        again: Whether the same request may do better later.
        wait_s: How long the service asks to wait.
        billed: Whether the service may have worked for it.
        answered: Whether what came is the model's own fault.
    """

    def __init__(
        self,
        kind: str,
        told: str,
        *,
        again: bool = True,
        wait_s: float | None = None,
        billed: bool = False,
        answered: bool = False,
    ) -> None:
        super().__init__(f"{kind}: {told}")
        self.kind = kind
        self.told = told
        self.again = again
        self.wait_s = wait_s
        self.billed = billed
        self.answered = answered


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = Field(ge=0, lt=10**9)
    completion_tokens: int = Field(default=0, ge=0, lt=10**9)


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: Any = None


class ChatClient:
    """Asks one server.

    Args:
        base_url: Address of the API.
        api_key: The key; "" where the server wants none.
        api_key_env: Where it came from, for messages.
        timeout_s: For one request, from its start to its last byte.
        max_answer_bytes: A longer answer is dropped before it is whole.

    Raises:
        MissingDependencyError: openai is not installed.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        api_key_env: str,
        timeout_s: float,
        max_answer_bytes: int,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingDependencyError(
                "Expected the package openai for the engine 'llm', found none; install it with: "
                "pip install 'kgrec[llm]'"
            ) from error
        self._openai = openai
        self._key = api_key
        self._key_from = api_key_env
        self._timeout_s = timeout_s
        self._most_bytes = max_answer_bytes
        self.address = _without_password(base_url)
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            timeout=timeout_s,
            max_retries=0,
            # A compressed answer could unfold to any size within one chunk.
            default_headers={"Accept-Encoding": "identity"},
        )

    async def ask(self, request: Mapping[str, Any]) -> Reply:
        """Send one request.

        Args:
            request: Its fields, as the chat API has them.

        Raises:
            CallError: No reply came of it.
            ExtractionError: No request can succeed: wrong key, no such model, no money left.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return _reply_from(await self._body(request))
        except TimeoutError as error:
            raise CallError(
                "timeout", f"no whole answer within {self._timeout_s:g} s", billed=True
            ) from error
        except self._openai.APITimeoutError as error:
            raise CallError("timeout", "the server did not answer in time", billed=True) from error
        except self._openai.APIStatusError as error:
            raise self._status_error(error) from None  # its text may repeat the key
        except self._openai.APIConnectionError as error:
            reason = self._clean(str(error.__cause__ or error))
            raise CallError("connection", f"{self.address}: {reason}") from None

    async def count_tokens(self, text: str) -> int | None:
        """Return how many tokens a text has, by the server's own count; None where it has none.

        llama.cpp's server and vLLM answer at /tokenize.
        """
        parts = urlsplit(str(self._client.base_url))
        root = f"{parts.scheme}://{parts.netloc}"
        try:
            told = await self._client.post(
                f"{root}/tokenize", cast_to=object, body={"content": text, "prompt": text}
            )
        except self._openai.OpenAIError:
            return None
        if not isinstance(told, dict):
            return None
        if isinstance(count := told.get("count"), int):
            return count
        tokens = told.get("tokens")
        return len(tokens) if isinstance(tokens, list) else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _body(self, request: Mapping[str, Any]) -> bytes:
        body = bytearray()
        create = self._client.chat.completions.with_streaming_response.create
        async with create(**request) as response:
            try:
                async for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > self._most_bytes:
                        raise CallError(
                            "too_long",
                            f"an answer of more than {self._most_bytes:,} bytes",
                            again=False,
                            billed=True,
                            answered=True,
                        )
            except (CallError, TimeoutError):
                raise
            except Exception as error:
                # The HTTP library below openai differs by its version (httpx, httpx2); whatever
                # breaks off a body is a lost connection.
                told = f"the answer broke off ({type(error).__name__})"
                raise CallError("connection", told, billed=True) from error
        return bytes(body)

    def _status_error(self, error: Any) -> CallError | ExtractionError:
        status = int(error.status_code)
        told = f"{self.address} answered {status}"
        if status in (401, 403):
            return ExtractionError(
                f"Expected a key that {self.address} accepts, got {status}; put the right one "
                f"into the environment variable {self._key_from}"
            )
        said = self._clean(str(error.message))
        if status == 404:
            return ExtractionError(
                f"Expected the model and the chat API at {self.address}, got {status}: {said}; "
                "correct model or base_url"
            )
        if status == 402 or error.code in ("insufficient_quota", "billing_hard_limit_reached"):
            return ExtractionError(
                f"Expected {self.address} to serve requests, got {status}: {said}; what was "
                "answered is kept, run again when there is credit"
            )
        if status == 429:
            wait_s = _asked_wait_s(error.response.headers)
            return CallError("rate_limit", f"{told}: too many requests", wait_s=wait_s)
        if status >= 500 or status in (408, 409, 425):
            wait_s = _asked_wait_s(error.response.headers)
            return CallError("server", f"{told}: {said}", wait_s=wait_s)
        return CallError("bad_request", f"{told}: {said}", again=False, answered=True)

    def _clean(self, text: str) -> str:
        """Return a message of others without the key, on one line, cut to a readable length."""
        hidden = text.replace(self._key, "[key]") if self._key else text
        hidden = re.sub(r"\bsk-\S+|(?i:bearer)\s+\S+|//[^/\s]*@", "[key]", hidden)
        return " ".join(hidden.split())[:_TOLD_CHARACTERS]


def _reply_from(body: bytes) -> Reply:
    try:
        completion = _Completion.model_validate(json.loads(body))
    except (ValidationError, ValueError, RecursionError) as error:
        raise CallError("server", "what came is no answer of the chat API", billed=True) from error
    usage = None
    with contextlib.suppress(ValidationError):  # services may leave it out, or say nonsense
        usage = _Usage.model_validate(completion.usage)
    spent = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    if not completion.choices:
        return Reply("", "", False, *spent)
    choice = completion.choices[0]
    refusal = choice.message.refusal or ""
    if choice.finish_reason == "content_filter":
        refusal = refusal or "the service's content filter"
    cut = choice.finish_reason == "length"
    return Reply(choice.message.content or "", refusal, cut, *spent)


def _asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for, given as a number or as a date."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()
