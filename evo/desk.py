"""Memoised tasks: ask for a result by key; it comes from the store when it is there, from the pool when it is not.

The campaign is a deterministic function over this desk. So resuming is running again, and a desk without a pool replays
what is known: that is how `evo status` and `evo results` read a campaign, running or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from evo.parallel import Pool
from evo.store import Store

TRIES = 3  # with a task whose program somebody else ends every time
Asked = tuple[Callable[..., Any], tuple[Any, ...]]


class Drained(Exception):
    """The run was asked to stop; what was under way is finished and stored."""


class Unknown(Exception):
    """A replay came to a result that has not been computed yet."""


class Desk:
    """Results by key, computed at most once."""

    def __init__(
        self,
        store: Store,
        pool: Pool | None,
        stop: Callable[[], bool] = lambda: False,
        unfinished: Callable[[Any], bool] = lambda value: False,
    ) -> None:
        """unfinished: whether a value is no result, because what works it out was asked to end. It is not stored, but asked for
        again, by the next run after a stop, TRIES times in all otherwise."""
        self._store = store
        self._unfinished = unfinished
        self._pool = pool
        self._stop = stop
        if pool is not None:
            pool.attach(stop, self._keep)
        self.n_new = 0  # results that this run has computed; until there is one it only replays
        self._under_way: dict[str, Asked] = {}
        self._tries: Counter[str] = Counter()
        self._again: list[tuple[str, Asked]] = []

    @property
    def works(self) -> bool:
        """Whether new results can come; else what is known is replayed."""
        return self._pool is not None

    def ask(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        """See to it that this result will come. `function` must be pure and its result a JSON value."""
        if self._pool is not None and key not in self._under_way and not self._store.has(key):
            self._under_way[key] = function, arguments
            self._pool.submit(key, function, *arguments)

    def ready(self, key: str) -> bool:
        return self._store.has(key)

    def known(self, prefix: str) -> list[str]:
        """Keys of results that are there and start so, in the order of the alphabet."""
        return sorted(self._store.keys(prefix))

    def remember(self, key: str, value: Any) -> Any:
        """What was said under this key the first time."""
        if self._pool is not None:
            self._store.put(key, value)
        return self._store.get(key)

    def result(self, key: str) -> Any:
        """The result of a key that was asked for; waits, and stores whatever else arrives meanwhile."""
        while (value := self._store.get(key)) is None:
            if self._pool is None:
                raise Unknown(key)
            if key not in self._under_way:
                raise KeyError(f"nobody asked for {key}")
            self._collect()
        return value

    def forget(self, key: str) -> None:
        """Have this result worked out anew by the next run: what made it was broken."""
        self._store.remove(key)

    def drain(self) -> None:
        """Finish and store what ranks have begun, forget the rest."""
        if self._pool is None:
            return
        self._pool.cancel()
        while arrived := self._pool.collect():
            self._keep(arrived)

    def _collect(self) -> None:
        assert self._pool is not None
        self._keep(self._pool.collect())
        while self._again and not self._stop():
            key, (function, arguments) = self._again.pop()
            self._under_way[key] = function, arguments
            self._pool.submit(key, function, *arguments)
        if self._stop():
            self.drain()
            raise Drained

    def _keep(self, arrived: list[tuple[str, Any]]) -> None:
        for key, value in arrived:
            asked = self._under_way.pop(key, None)
            self._tries[key] += 1
            if not self._unfinished(value) or (self._tries[key] >= TRIES and not self._stop()):
                self._store.put(key, value)
                self.n_new += 1
            elif asked is not None:
                self._again.append((key, asked))
