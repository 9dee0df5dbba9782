"""The engine 'llm': texts to prompts, answers to extractions, many at a time.

The requests run in an event loop of a thread of its own, so that answers can be taken one by one
from ordinary code. Retries and budget are calls.py's business, keeping answers the run's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import queue
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from graph_etl.errors import ExtractionError
from graph_etl.extraction.config import LlmConfig
from graph_etl.extraction.extractor import Cost, Extractor, Request
from graph_etl.extraction.llm.answers import BadAnswer, read_answer
from graph_etl.extraction.llm.budget import Budget, Reserved
from graph_etl.extraction.llm.calls import Caller
from graph_etl.extraction.llm.client import ChatClient, Reply
from graph_etl.extraction.llm.estimate import Estimate, Prompt, estimated
from graph_etl.extraction.llm.grounded import grounded, joined
from graph_etl.extraction.llm.json_schema import answer_schema
from graph_etl.extraction.llm.parts import parts_of
from graph_etl.extraction.llm.prompt import PROMPT_VERSION, messages_for, shown
from graph_etl.extraction.records import Answer, Document, Extraction, Failure, Usage
from graph_etl.graph_schema import GraphSchema

READING_VERSION = "1"
"""Of how answers are read and grounded; part of the fingerprint."""
_HIGHER = 0.3  # temperature added with each attempt
_HIGHEST = 1.0

T = TypeVar("T")


class LlmExtractor(Extractor):
    """Asks a language model for mentions and triples.

    Args:
        config: Which model, where, within which limits.
        schema: What may be extracted.
    """

    engine = "llm"

    def __init__(self, config: LlmConfig, schema: GraphSchema) -> None:
        self.model = config.model
        self.prompt_version = f"{PROMPT_VERSION}-{config.form}"
        self._config = config
        self._schema = schema
        self._answer_schema = answer_schema(schema, config.form)
        self._caller: Caller | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def fingerprint(self) -> str:
        """See Extractor."""
        asked = self._config.model_dump(
            include={
                "model", "revision", "form", "structured", "temperature", "seed",
                "max_completion_tokens", "extra", "max_prompt_characters", "confidence",
            }
        )  # fmt: skip
        whole = [PROMPT_VERSION, READING_VERSION, asked, self._schema.model_dump()]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def answers(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """See Extractor."""
        if not requests:
            return
        caller = self._opened()
        out: queue.SimpleQueue[Answer | BaseException | None] = queue.SimpleQueue()
        future = self._started(self._all(caller, requests, out))
        try:
            while (item := out.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            future.cancel()

    def cost_of(self, usage: Usage) -> Cost | None:
        """See Extractor."""
        tokens = Reserved(usage.prompt_tokens, usage.completion_tokens)
        budget = self._config.budget
        return Cost(Budget(budget).cost_of(tokens), budget.currency) if budget.is_priced else None

    def dry_run(self, documents: Sequence[Document]) -> Estimate:
        """Return what it would take to ask about documents; no model is called.

        Tokens are counted by the server where it offers that (llama.cpp, vLLM), else a token is
        taken to have four bytes.
        """
        prompts = [
            Prompt(json.dumps(messages, ensure_ascii=False), len(text))
            for document in documents
            for start, end in parts_of(document.text, self._config.max_prompt_characters)
            for text in [shown(document.text[start:end])]
            for messages in [messages_for(document, text, self._schema, self._config.form)]
        ]
        counter = self._opened().client.count_tokens
        schema = "" if self._config.structured != "json_schema" else json.dumps(self._answer_schema)
        counting = estimated(prompts, schema, len(documents), self._config, counter)
        return self._started(counting).result()

    def close(self) -> None:
        """See Extractor."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if self._caller is not None:
            asyncio.run_coroutine_threadsafe(self._caller.client.close(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    def _opened(self) -> Caller:
        if self._caller is None:
            url, key = self._server()
            client = ChatClient(
                url,
                key,
                api_key_env=self._config.api_key_env,
                timeout_s=self._config.timeout_s,
                max_answer_bytes=self._config.max_answer_bytes,
            )
            self._caller = Caller(client, self._config)
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="llm requests", daemon=True
            )
            self._thread.start()
        return self._caller

    def _server(self) -> tuple[str, str]:
        """Return address and key; the local server gets no key."""
        if self._config.base_url is not None:
            return self._config.base_url, os.environ.get(self._config.api_key_env, "")
        from graph_etl.llm_server import served

        return served(self._config.model), ""

    def _started(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop is None:
            raise ExtractionError("Expected an open engine, got one that was closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _all(
        self,
        caller: Caller,
        requests: Sequence[Request],
        out: queue.SimpleQueue[Answer | BaseException | None],
    ) -> None:
        """Put an answer for each request, then None; an error comes after what was under way."""
        waiting = iter(requests)
        errors: list[Exception] = []

        async def work() -> None:
            for request in waiting:
                if errors:
                    return
                try:
                    out.put(await self._answer(caller, request))
                except Exception as error:
                    errors.append(error)
                    caller.is_stopped = True
                    return

        caller.is_stopped = False
        await asyncio.gather(*(work() for _ in range(self._config.concurrency)))
        out.put(errors[0] if errors else None)

    async def _answer(self, caller: Caller, request: Request) -> Answer:
        """Return what the model says of one document, part by part."""
        document = request.document
        said: list[str] = []
        found: list[tuple[int, Extraction]] = []
        usage = Usage()
        for start, end in parts_of(document.text, self._config.max_prompt_characters):
            text = shown(document.text[start:end])
            fields, size = self._fields(document, text, request.attempt)
            called = await caller.call(fields, size)
            usage += called.usage
            read = self._read(document, text, called.outcome)
            if isinstance(called.outcome, Reply):
                said.append(called.outcome.content)
            if isinstance(read, Failure):
                return Answer(document.doc_id, _raw(said), failure=read, usage=usage)
            found.append((start, read))
        return Answer(
            document.doc_id, _raw(said), extraction=joined(document.doc_id, found), usage=usage
        )

    def _fields(self, document: Document, text: str, attempt: int) -> tuple[Mapping[str, Any], int]:
        """Return the fields of a request, and how many bytes of them count as prompt."""
        config = self._config
        messages = messages_for(document, text, self._schema, config.form)
        fields: dict[str, Any] = {
            "model": config.model,
            "messages": messages,
            config.limit_field: config.max_completion_tokens,
            "extra_body": config.extra or None,
        }
        size = sum(len(one["content"].encode()) for one in messages)
        if config.temperature is not None:
            higher = min(config.temperature + _HIGHER * (attempt - 1), _HIGHEST)
            fields["temperature"] = max(config.temperature, higher)
        if config.seed is not None:
            fields["seed"] = config.seed + attempt - 1
        if config.structured == "json_schema":
            form = {"name": "extraction", "strict": True, "schema": self._answer_schema}
            fields["response_format"] = {"type": "json_schema", "json_schema": form}
            size += len(json.dumps(self._answer_schema))
        elif config.structured == "json_object":
            fields["response_format"] = {"type": "json_object"}
        return fields, size

    def _read(
        self, document: Document, text: str, outcome: Reply | Failure
    ) -> Extraction | Failure:
        if isinstance(outcome, Failure):
            return outcome
        if outcome.refusal:
            return Failure("refusal", f"the model refused: {outcome.refusal[:200]}")
        read = read_answer(outcome.content, self._config.form)
        if isinstance(read, BadAnswer):
            cut = f"; it was cut off at {self._config.max_completion_tokens} tokens"
            return Failure(read.kind, read.told + (cut if outcome.was_cut else ""))
        return grounded(document, text, read, self._schema, self._config.confidence)


def _raw(said: Sequence[str]) -> str:
    """Return the answer as it came; those of several parts as a JSON list."""
    return said[0] if len(said) == 1 else json.dumps(said) if said else ""
