"""The engine on a real socket: what is asked, how much of it, and when it stops."""

import asyncio
import time
from email.utils import formatdate

import pytest
from llm_fixtures import KEY, Said, completion, failed
from scripted_extraction import film, schema

from graph_etl.errors import ExtractionError
from graph_etl.extraction.config import LlmConfig
from graph_etl.extraction.extractor import Request
from graph_etl.extraction.llm import pacing
from graph_etl.extraction.llm.engine import LlmExtractor

FILMS = [film(i, f"A story set in PLACE{i} with friends.") for i in range(6)]


def open_engine(server, **settings):
    settings = {"model": "m", "first_wait_s": 0.01, "timeout_s": 5.0, **settings}
    return LlmExtractor(LlmConfig(base_url=server.url, **settings), schema())


def ask(engine, films=FILMS, attempt=1):
    answers = engine.answers([Request(one, attempt) for one in films])
    return {answer.doc_id: answer for answer in answers}


def test_every_request_is_answered_with_grounded_triples(chat_server):
    with open_engine(chat_server) as engine:
        answers = ask(engine)
    assert set(answers) == {one.doc_id for one in FILMS}
    for document in FILMS:
        extraction = answers[document.doc_id].extraction
        [triple] = extraction.triples
        mention = extraction.mentions[triple.tail]
        assert (triple.head, triple.relation) == (None, "set_in")
        assert document.text[mention.start : mention.end] == f"PLACE{document.doc_id[5:]}"
        assert triple.confidence == 0.8
    usage = answers["film-0"].usage
    assert (usage.requests, usage.prompt_tokens, usage.completion_tokens) == (1, 100, 20)
    asked = chat_server.calls[0].fields
    assert asked["response_format"]["json_schema"]["strict"] is True
    assert (asked["temperature"], asked["seed"], asked["max_tokens"]) == (0.0, 0, 1024)


def test_at_most_so_many_requests_are_under_way(chat_server):
    chat_server.script = lambda asked, number: Said(completion("{}").body, wait_s=0.05)
    with open_engine(chat_server, concurrency=3) as engine:
        ask(engine, [film(i, f"text {i}") for i in range(12)])
    assert chat_server.most_at_once == 3


def test_answers_come_while_others_are_under_way(chat_server):
    def slow_first(asked, number):
        return Said(completion("{}").body, wait_s=2.0) if "PLACE0" in asked.text else None

    chat_server.script = slow_first
    with open_engine(chat_server) as engine:
        order = [answer.doc_id for answer in engine.answers([Request(one) for one in FILMS])]
    assert order[-1] == "film-0"


def test_asking_again_is_asking_otherwise(chat_server):
    with open_engine(chat_server, temperature=0.2, seed=7) as engine:
        for attempt in (1, 2, 9):
            ask(engine, FILMS[:1], attempt)
        sent = [(call.fields["temperature"], call.fields["seed"]) for call in chat_server.calls]
    assert sent == [(0.2, 7), (0.5, 8), (1.0, 15)]


def test_services_get_only_the_fields_they_take(chat_server):
    settings = {"temperature": None, "seed": None, "structured": "off"}
    extra = {"reasoning_effort": "low"}
    with open_engine(
        chat_server, limit_field="max_completion_tokens", extra=extra, **settings
    ) as engine:
        ask(engine, FILMS[:1])
    fields = chat_server.calls[0].fields
    assert set(fields) == {"model", "messages", "max_completion_tokens", "reasoning_effort"}


def test_long_texts_are_read_in_parts(chat_server):
    text = " ".join(f"It is set in PLACE{i}, he said." for i in range(30))
    with open_engine(chat_server, max_prompt_characters=300) as engine:
        answer = ask(engine, [film(1, text)])["film-1"]
    assert len(chat_server.calls) > 2
    assert all(len(seen) <= 300 for seen in chat_server.texts)
    assert answer.usage.requests == len(chat_server.calls)
    found = answer.extraction
    names = [text[one.start : one.end] for one in found.mentions]
    assert names == [f"PLACE{i}" for i in range(30)]
    assert {names[one.tail] for one in found.triples} == set(names)


def test_a_part_that_fails_fails_the_document(chat_server):
    text = " ".join(f"It is set in PLACE{i}, he said." for i in range(30))
    chat_server.script = lambda asked, n: completion("no") if "PLACE12" in asked.text else None
    with open_engine(chat_server, max_prompt_characters=300) as engine:
        answer = ask(engine, [film(1, text)])["film-1"]
    assert answer.failure.kind == "invalid_json"
    assert len(answer.raw) > 10


@pytest.mark.parametrize("after", ["0.3", "date"])
def test_retry_after_is_honoured_by_all(chat_server, after):
    refused_at = []

    def script(asked, number):
        if number == 0:
            refused_at.append(time.monotonic())
            value = formatdate(time.time() + 2, usegmt=True) if after == "date" else after
            return failed(429, Retry_After=value)
        allowed = refused_at[0] + (0.9 if after == "date" else 0.3)
        return None if time.monotonic() >= allowed else failed(400, "too early")

    chat_server.script = script
    with open_engine(chat_server, concurrency=1) as engine:
        answers = ask(engine, FILMS[:3])
    assert all(answer.extraction for answer in answers.values())
    assert answers["film-0"].usage.requests == 2


def test_a_service_that_asks_for_too_long_a_wait_is_not_waited_for(chat_server):
    chat_server.script = lambda asked, number: failed(429, Retry_After="3600")
    with open_engine(chat_server, give_up_after=100) as engine:
        answers = ask(engine, FILMS[:2])
    assert {answer.failure.kind for answer in answers.values()} == {"rate_limit"}
    assert len(chat_server.calls) == 2


def test_a_dead_server_stops_the_run(chat_server):
    chat_server.script = lambda asked, number: failed(503, "overloaded")
    films = [film(i, f"text {i}") for i in range(1000)]
    with (
        open_engine(chat_server, max_retries=1, concurrency=2, give_up_after=4) as engine,
        pytest.raises(ExtractionError, match="none for 4 texts in a row, each asked up to 2 times"),
    ):
        ask(engine, films)
    assert len(chat_server.calls) <= 12


def test_nobody_at_the_address_stops_the_run(chat_server):
    chat_server.close()
    with (
        open_engine(chat_server, max_retries=1, give_up_after=2) as engine,
        pytest.raises(ExtractionError, match=r"connection, http://127\.0\.0\.1"),
    ):
        ask(engine)


def test_what_no_request_can_get_past_stops_at_once(chat_server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for status, code, told in (
        (401, None, "environment variable OPENAI_API_KEY"),
        (403, None, "environment variable OPENAI_API_KEY"),
        (404, "model_not_found", "correct model or base_url"),
        (402, None, "when there is credit"),
        (429, "insufficient_quota", "when there is credit"),
    ):
        chat_server.calls.clear()
        chat_server.script = lambda asked, number, status=status, code=code: failed(
            status, f"Incorrect key: {KEY}", code
        )
        with (
            open_engine(chat_server, concurrency=1) as engine,
            pytest.raises(ExtractionError, match=told) as error,
        ):
            ask(engine)
        assert KEY not in str(error.value)
        assert len(chat_server.calls) == 1
    assert chat_server.calls[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_budget_of_requests_stops_before_the_next_one(chat_server):
    with open_engine(chat_server, budget={"max_requests": 4}, concurrency=2) as engine:
        got = []
        with pytest.raises(ExtractionError, match=r"budget of 4 requests.*so far: 4 requests"):
            got.extend(engine.answers([Request(one) for one in FILMS]))
    assert len(chat_server.calls) == 4
    assert len(got) == 4


@pytest.mark.parametrize(
    "limits",
    [
        {"max_tokens": 9000},
        {"max_cost": 0.009, "price_per_million_prompt_tokens": 1.0,
         "price_per_million_completion_tokens": 1.0},
    ],
)  # fmt: skip
def test_the_budget_of_tokens_and_money_is_never_passed(chat_server, limits):
    spent = []

    def script(asked, number):
        spent.append(1000 + asked.fields["max_tokens"])
        usage = {"prompt_tokens": 1000, "completion_tokens": asked.fields["max_tokens"]}
        return completion('{"entities":[],"triples":[]}', usage=usage)

    chat_server.script = script
    settings = {"concurrency": 4, "max_completion_tokens": 500}
    with open_engine(chat_server, budget=limits, **settings) as engine:
        got = []
        with pytest.raises(ExtractionError, match="stay within the budget"):
            got.extend(engine.answers([Request(film(i, f"text {i}")) for i in range(50)]))
        with pytest.raises(ExtractionError, match="stay within the budget"):
            ask(engine, FILMS[:1])
    assert 1 <= len(got) == len(spent)
    assert sum(spent) <= 9000


def test_failed_requests_count_against_the_budget(chat_server):
    chat_server.script = lambda asked, number: failed(500)
    budget = {"max_requests": 3}
    with (
        open_engine(chat_server, budget=budget, max_retries=50, concurrency=1) as engine,
        pytest.raises(ExtractionError, match="budget of 3 requests"),
    ):
        ask(engine)
    assert len(chat_server.calls) == 3


def test_the_fingerprint_tells_what_decides_an_answer_and_no_more(chat_server, monkeypatch):
    def fingerprint(**settings):
        return LlmExtractor(LlmConfig(model="m", **settings), schema()).fingerprint

    base = fingerprint()
    same = [{"base_url": "http://x/v1"}, {"api_key_env": "K"}, {"timeout_s": 1.0},
            {"concurrency": 1}, {"budget": {"max_requests": 1}}]  # fmt: skip
    assert {fingerprint(**one) for one in same} == {base}
    other = [{"temperature": 0.5}, {"form": "compact"}, {"structured": "off"}, {"seed": 3},
             {"max_completion_tokens": 99}, {"extra": {"a": 1}}, {"revision": "2"}]  # fmt: skip
    assert len({fingerprint(**one) for one in other} | {base}) == len(other) + 1


def test_an_estimate_calls_no_model(chat_server):
    budget = {
        "price_per_million_prompt_tokens": 2.0,
        "price_per_million_completion_tokens": 8.0,
    }
    with open_engine(chat_server, budget=budget, max_prompt_characters=300) as engine:
        one = engine.dry_run([film(1, "word " * 50)])
        two = engine.dry_run([film(1, "word " * 50), film(2, "word " * 100), film(3, "?!")])
    assert chat_server.calls == []
    assert (one.texts, one.requests, two.texts, two.requests) == (1, 1, 3, 3)
    assert not one.is_exact
    assert 200 < one.prompt_tokens < two.prompt_tokens < 3000
    assert one.completion_tokens_at_most == 1024
    assert one.cost == pytest.approx((one.prompt_tokens * 2 + one.completion_tokens * 8) / 1e6)
    assert one.cost < one.cost_at_most


def test_a_caller_may_stop_in_the_middle_and_ask_again(chat_server):
    with open_engine(chat_server, concurrency=2) as engine:
        some = engine.answers([Request(film(i, f"text {i}")) for i in range(50)])
        next(some)
        some.close()
        assert set(ask(engine)) == {one.doc_id for one in FILMS}
    assert len(chat_server.calls) < 56


def test_requests_and_tokens_of_every_minute_stay_within_the_rates(monkeypatch):
    now = [1000.0]

    async def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(pacing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(pacing.asyncio, "sleep", sleep)

    async def sent(tokens, **rates):
        pacer = pacing.Pacer(**rates)
        times = []
        for count in tokens:
            await pacer.wait(count)
            times.append(now[0])
        return times

    times = asyncio.run(sent([1] * 25, requests_per_minute=10, tokens_per_minute=None))
    assert [round(at - times[0]) for at in times] == [0] * 10 + [60] * 10 + [120] * 5
    times = asyncio.run(
        sent([40, 40, 40, 500, 10], requests_per_minute=None, tokens_per_minute=100)
    )
    assert [round(at - times[0]) for at in times] == [0, 0, 60, 120, 180]


def test_waits_double_and_end_at_the_longest():
    for tried in range(1, 12):
        for _ in range(20):
            wait = pacing.backoff_s(tried, 1.0, 60.0)
            assert min(0.5 * 2 ** (tried - 1), 60.0) <= wait <= min(1.5 * 2 ** (tried - 1), 60.0)
