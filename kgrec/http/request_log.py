"""Log lines as JSON, one each; no ids of users, no bodies, no keys, no texts of exceptions."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("kgrec.http")
_NAMES = ("kgrec", "uvicorn")


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON.

    Of an exception it tells the type and the places in the code alone: its text may name a user.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, default=str)


def log_to(stream: TextIO | None = None) -> None:
    """Send the lines of kgrec and the web server to a stream, by default stderr."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    # the gate tells of each request itself, without its address
    logging.getLogger("uvicorn.access").disabled = True


def tell(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write one line.

    Args:
        event: What happened.
        level: As in logging.
        fields: Further values; nothing that tells who a user is.
    """
    LOGGER.log(level, event, extra={"fields": fields})
