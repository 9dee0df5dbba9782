"""What asking would take, before anything is asked: requests, tokens, money."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from graph_etl.extraction.config import LlmConfig
from graph_etl.extraction.llm.budget import Budget, Reserved
from graph_etl.extraction.llm.calls import BYTES_A_TOKEN

_OVERHEAD_TOKENS = 12  # of a chat template


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to come.

    Attributes:
        content: All its words.
        text_characters: Of them, the text's.
    """

    content: str
    text_characters: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would take if every text were asked about once.

    Attributes:
        texts: Documents.
        requests: One for each part of a document.
        prompt_tokens: Tokens in.
        is_exact: Whether the server counted them; else they are bytes / 4.
        completion_tokens: Tokens out, taken to be as many as the texts have.
        completion_tokens_at_most: If every answer were as long as it may be.
        cost, cost_at_most: Money.
        currency: Of it.
    """

    texts: int
    requests: int
    prompt_tokens: int
    is_exact: bool
    completion_tokens: int
    completion_tokens_at_most: int
    cost: float
    cost_at_most: float
    currency: str


async def estimated(
    prompts: Sequence[Prompt],
    schema: str,
    texts: int,
    config: LlmConfig,
    count_tokens: Callable[[str], Awaitable[int | None]],
) -> Estimate:
    """Return what prompts would take.

    Args:
        prompts: All of them.
        schema: The answer's schema, where it is sent along; services count it as prompt.
        texts: How many documents they are of.
        config: Limits and prices.
        count_tokens: The server's own count of a text, None where it has none.
    """
    counts: list[int] = []
    is_exact = await count_tokens("a") is not None  # no text goes to a service that cannot count
    if is_exact:
        said = [await count_tokens(prompt.content) for prompt in prompts]
        counts = [count + _OVERHEAD_TOKENS for count in said if count is not None]
        is_exact = len(counts) == len(prompts)
    if not is_exact:
        each = len(schema.encode()) // BYTES_A_TOKEN + _OVERHEAD_TOKENS
        counts = [each + -(-len(one.content.encode()) // BYTES_A_TOKEN) for one in prompts]
    most = len(prompts) * config.max_completion_tokens
    expected = sum(
        min(one.text_characters // BYTES_A_TOKEN, config.max_completion_tokens) for one in prompts
    )
    cost_of = Budget(config.budget).cost_of
    return Estimate(
        texts=texts,
        requests=len(prompts),
        prompt_tokens=sum(counts),
        is_exact=is_exact,
        completion_tokens=expected,
        completion_tokens_at_most=most,
        cost=cost_of(Reserved(sum(counts), expected)),
        cost_at_most=cost_of(Reserved(sum(counts), most)),
        currency=config.budget.currency,
    )
