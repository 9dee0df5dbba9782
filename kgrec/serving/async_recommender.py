"""The Recommender for asyncio and trio: each call runs in one of a bounded number of threads.

Here the library anyio enters; it is imported when the first AsyncRecommender is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from kgrec.errors import MissingDependencyError
from kgrec.serving.recommender import Recommender

if TYPE_CHECKING:
    from anyio import CapacityLimiter

P = ParamSpec("P")
T = TypeVar("T")

_METHODS = (
    "recommend",
    "recommend_many",
    "similar",
    "complementary",
    "search",
    "explain",
    "item_vector",
    "item_vectors",
    "user_vector",
    "observe",
    "observe_many",
    "forget",
    "add_item",
    "remove_item",
    "reload",
    "check_probes",
)


class AsyncRecommender:
    """The methods of a Recommender as coroutines, with the same arguments and errors.

    Calls beyond ``max_threads`` wait for a thread, in order; the event loop never waits. A call
    that is cancelled while it waits is not made; one that runs is seen to its end.

    Args:
        recommender: What answers; it may be used from threads at the same time.
        max_threads: Calls that run at once.

    Raises:
        MissingDependencyError: The library anyio is not installed.
    """

    def __init__(self, recommender: Recommender, *, max_threads: int = 8) -> None:
        try:
            import anyio
            import anyio.to_thread
        except ImportError as error:
            raise MissingDependencyError(
                "Expected the library anyio for AsyncRecommender, found none; "
                "install it with: pip install anyio"
            ) from error
        self._anyio: Any = anyio
        self._max_threads = max_threads
        self._limiter: CapacityLimiter | None = None
        self.recommender = recommender

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a method of the recommender returns, called in a thread.

        The other coroutines do the same by name; types are kept only here.
        """
        if self._limiter is None:  # belongs to the event loop that runs
            self._limiter = self._anyio.CapacityLimiter(self._max_threads)
        found: T = await self._anyio.to_thread.run_sync(
            lambda: method(*args, **kwargs), limiter=self._limiter
        )
        return found

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        method = getattr(self.recommender, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            return await self.call(method, *args, **kwargs)

        return ask

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_METHODS})
