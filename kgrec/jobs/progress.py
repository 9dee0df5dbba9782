"""How a job tells what it is doing."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with a step in words and the share of it that is done, 0 to 1."""
