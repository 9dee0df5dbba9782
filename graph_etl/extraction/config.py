"""The section ``extraction`` of dataset.yaml: which texts, which schema, which engines in turn.

What an engine does with its settings is said in the engine's module.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from graph_etl.extraction.run import RunLimits
from graph_etl.extraction.validation import ExtractionLimits
from graph_etl.graph_schema import GraphSchema
from graph_etl.table_config import FrozenModel, Names, Table


class EngineConfig(FrozenModel):
    """What every engine has."""

    unsure_below: float | None = Field(default=None, ge=0, le=1)
    """The next engine is asked too where this one found no triple, or one with a lower confidence;
    null: it is always asked."""


class GazetteerConfig(EngineConfig):
    """Finds the names of entities that the graph knows from tables."""

    engine: Literal["gazetteer"] = "gazetteer"
    """This engine."""
    entity_types: list[str] | None = None
    """Types whose names are looked for; null: those of the extraction's schema."""
    relates: dict[str, str] = Field(default={})
    """Entity type -> relation from the item to a name of that type found in its text ("place":
    "set_in"). What the graph knows of the item and the name already is confirmed in any case."""
    fuzzy: float | None = Field(default=None, gt=0.5, le=1)
    """Least similarity of a name that is spelled otherwise; null: exact names alone."""
    min_characters: int = Field(default=4, ge=1)
    """Shorter names are not looked for."""
    drop: list[str] = Field(default=[])
    """Names that are words of the language as well ("Her", "It")."""


class BertConfig(EngineConfig):
    """A fine-tuned encoder that reads spans and pairs; ``graph-etl extract train`` makes one."""

    engine: Literal["bert"] = "bert"
    """This engine."""
    model: str
    """Folder of the trained extractor, relative to the dataset.yaml; or "corpus:films": one that
    is trained once from the marked texts that are shipped, and kept in the cache."""
    batch_documents: int = Field(default=256, ge=1)
    """Documents whose windows are sorted by length and read together."""
    runtime: Literal["torch", "onnx"] = "torch"
    """What runs the encoder. onnx (the extra "onnx", CPU alone) is faster where a processor has no
    bfloat16 products."""


class BudgetConfig(FrozenModel):
    """What one run may spend; it stops hard before the next request could go beyond.

    A request is taken to cost what it could at most: a token for each byte that goes in and the
    longest answer, until the service says what it did cost.
    """

    max_requests: int | None = Field(default=None, ge=0)
    """Requests, retries among them."""
    max_tokens: int | None = Field(default=None, ge=0)
    """Tokens in and out together."""
    max_cost: float | None = Field(default=None, ge=0)
    """Money, in ``currency``."""
    currency: str = "USD"
    """Of ``max_cost`` and the prices."""
    price_per_million_prompt_tokens: float = Field(default=0.0, ge=0)
    """Money for a million tokens in."""
    price_per_million_completion_tokens: float = Field(default=0.0, ge=0)
    """Money for a million tokens out."""

    @property
    def is_priced(self) -> bool:
        """Whether it knows what tokens cost."""
        return self.price_per_million_prompt_tokens + self.price_per_million_completion_tokens > 0

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.max_cost is not None and not self.is_priced:
            raise ValueError("expected the prices of tokens with max_cost (got none)")
        return self


class LlmConfig(EngineConfig):
    """A language model behind the OpenAI-compatible chat API."""

    engine: Literal["llm"] = "llm"
    """This engine."""
    model: str
    """Name of the model, as the server calls it."""
    revision: str = ""
    """Change it when another model is served under the same name: answers are kept by both."""
    base_url: str | None = None
    """Address of the API; null: the local server of ``graph-etl llm up``."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; it never stands in a file. The local server gets
    none."""
    form: Literal["quoted", "compact"] = "quoted"
    """quoted: each triple with the words that say it. compact: the short form that
    ``graph-etl extract tune-llm`` teaches."""
    structured: Literal["json_schema", "json_object", "off"] = "json_schema"
    """How the server is told the form of the answer."""
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """0: the likeliest answer; asking again raises it by .3. null: never sent, for models that
    refuse it."""
    seed: int | None = 0
    """Sent along, one more each time a text is asked again; null: not sent."""
    max_completion_tokens: int = Field(default=1024, ge=16)
    """Longest answer."""
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the API calls that limit; newer models of OpenAI want max_completion_tokens."""
    extra: dict[str, Any] = Field(default={})
    """Further fields of every request, as the service has them; no secrets, no addresses."""
    max_prompt_characters: int = Field(default=12_000, ge=200)
    """Longer texts are read in parts of whole sentences."""
    confidence: float = Field(default=0.8, ge=0, le=1)
    """Of all that it finds: the API tells of none."""
    concurrency: int = Field(default=8, ge=1)
    """Requests at a time."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Rate limit of the service."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Likewise, tokens in and out."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Seconds for one request, from its start to the last byte."""
    max_retries: int = Field(default=5, ge=0)
    """Tries again after 429, 5xx, time-outs and lost connections, waiting longer each time."""
    first_wait_s: float = Field(default=1.0, gt=0)
    """Seconds before the first of them, give or take a half; doubled each time."""
    max_wait_s: float = Field(default=60.0, gt=0)
    """Longest wait, also where the service asks for more: then the text is given up for now."""
    give_up_after: int = Field(default=5, ge=1)
    """Texts in a row without any answer, all tries of each, after which the run stops."""
    max_answer_bytes: int = Field(default=1_000_000, ge=1000)
    """A longer answer is no answer."""
    budget: BudgetConfig = BudgetConfig()
    """What one run may spend."""


Engine = Annotated[GazetteerConfig | BertConfig | LlmConfig, Field(discriminator="engine")]


class ExtractionConfig(FrozenModel):
    """What is extracted from the items' texts, and how."""

    enabled: bool = True
    """False leaves the graph without extracted triples."""
    table: Table | None = None
    """A table of texts; null: that of the items."""
    item: str | None = None
    """Column of the item id in ``table``; null: ``items.id``. An item may have several texts."""
    text: Names | None = None
    """Pieces of text as in ``items.text``; null: those of the items."""
    graph_schema: GraphSchema | str = Field(alias="schema")
    """Entity types and relations to look for, or the path of such a graph_schema.yaml. Relations
    of the items' own type are about the item that the text belongs to."""
    engines: list[Engine] = Field(min_length=1)
    """Asked one after another; see ``unsure_below``."""
    limits: ExtractionLimits = ExtractionLimits()
    """What of an answer counts."""
    run: RunLimits = RunLimits()
    """When a text is given up, and when the whole run fails."""
    gold: str | None = None
    """File of labelled texts (docs/how-to/extraction-bert.md), or "corpus:films/gold.jsonl": of
    those among the texts that are read, each build tells precision and recall; null: it tells
    none."""

    @model_validator(mode="after")
    def _table_has_text(self) -> Self:
        if self.table is not None and self.text is None:
            raise ValueError("expected 'text' beside 'table': the columns that hold the texts")
        return self
