"""What `kgrec serve` can be told, and reading it from YAML; what it means is for the others."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kgrec.errors import ConfigError
from kgrec.serving.live_state import SharedConfig


class ServeConfig(BaseModel):
    """Settings of one HTTP service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: Path | None = None
    """File of API keys, made by 'kgrec keys add'; None only with no_auth."""
    no_auth: bool = False
    """Answer without keys; accepted on a loopback address alone."""
    event_log: Path | None = None
    """Folder that observed events are appended to; None: nothing can be observed."""
    state: Path | None = None
    """Folder of the forgotten users and the changed items; None: neither can be changed."""
    workers: int = Field(default=1, ge=1)
    """Processes that answer; more than one need a Redis for what they share."""
    redis: str | None = None
    """Address of that Redis: redis://host:6379/0; its password stands in KGREC_REDIS_PASSWORD."""
    redis_timeout_s: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """How long one question to Redis may take before the event log answers in its place."""
    start_timeout_s: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """How long one of several workers may take to begin to answer before it is started anew."""
    hung_s: float = Field(default=30.0, ge=2, allow_inf_nan=False)
    """How long one of several workers may show no sign of life, or wait for one call to the model,
    before it is killed and another started; above all that an honest call can take."""
    max_body_bytes: int = Field(default=1 << 20, ge=1)
    """Largest request body."""
    max_history: int = Field(default=10_000, ge=1)
    """Most events of one history."""
    max_k: int = Field(default=500, ge=1)
    """Most items of one answer."""
    max_batch: int = Field(default=100, ge=1)
    """Most users of one recommend-many, and most events of one observe."""
    rate_per_s: float = Field(default=50.0, gt=0, allow_inf_nan=False)
    """Requests per second of one key, in the long run."""
    burst: int = Field(default=100, ge=1)
    """Requests of one key at once after a pause."""
    max_in_flight: int = Field(default=256, ge=1)
    """Requests in the works at once; further ones are told to come again (503)."""
    threads: int = Field(default=4, ge=1)
    """Threads that ask the model; where all are busy until the timeout, fallbacks answer."""
    timeout_s: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How long the model may take before a fallback answers."""
    fallback_timeout_s: float = Field(default=0.25, gt=0, allow_inf_nan=False)
    """How long popular items may take before the list made beforehand answers."""
    write_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """How long a write may take before the caller is told to send it again."""
    cached_answers: int = Field(default=10_000, ge=0)
    """Last answers kept in memory for the fallback."""
    poll_s: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Seconds between two looks at the pointer file and the file of keys."""
    follow_s: float = Field(default=0.25, gt=0, allow_inf_nan=False)
    """Seconds between two looks at what other workers did."""
    prepare_items: bool = False
    """Make ready beforehand what added items need, so that the first one does not take longer."""
    drain_s: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """How long, after a signal to stop, new requests are told 503 before the port is closed."""
    drain_timeout_s: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    """How long requests in the works may take to end after a signal to stop."""
    public_metrics: bool = False
    """Let /metrics be read without a key."""

    @property
    def shared(self) -> SharedConfig | None:
        """What workers share besides their folders, None for one worker alone."""
        if self.redis is None:
            return None
        return SharedConfig(redis=self.redis, timeout_s=self.redis_timeout_s)


def load_serve_config(path: Path) -> ServeConfig:
    """Return the settings of a YAML file; its paths are relative to its folder.

    Raises:
        ConfigError: The file is absent, no YAML, or says something that there is not.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"Expected settings of a service as YAML in {path}, got: {error}"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"Expected a mapping at the top of {path}, got {type(content).__name__}")
    try:
        config = ServeConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"Expected settings out of {', '.join(ServeConfig.model_fields)} in {path}, got a "
            f"fault under '{'.'.join(map(str, first['loc']))}': {first['msg']}"
        ) from error
    named = {name: getattr(config, name) for name in ("keys", "event_log", "state")}
    there = {name: path.parent / value for name, value in named.items() if value is not None}
    return config.model_copy(update=there)
