"""Memoised tasks: ask for a result by key; it comes from the store when it is there, from the pool when it is not.

The campaign is a deterministic function over this desk. So resuming is running again, and a desk without a pool replays
what is known: that is how `evo status` and `evo results` read a campaign, running or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evo.parallel import Pool
from evo.store import Store


class Drained(Exception):
    """The run was asked to stop; what was under way is finished and stored."""


class Unknown(Exception):
    """A replay came to a result that has not been computed yet."""


class Desk:
    """Results by key, computed at most once."""

    def __init__(self, store: Store, pool: Pool | None, stop: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._pool = pool
        self._stop = stop
        if pool is not None:
            pool.attach(stop, self._keep)
        self._under_way: set[str] = set()

    def ask(self, key: str, function: Callable[..., Any], *arguments: Any) -> None:
        """See to it that this result will come. `function` must be pure and its result a JSON value."""
        if self._pool is not None and key not in self._under_way and not self._store.has(key):
            self._under_way.add(key)
            self._pool.submit(key, function, *arguments)

    def ready(self, key: str) -> bool:
        return self._store.has(key)

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
        if self._stop():
            self.drain()
            raise Drained

    def _keep(self, arrived: list[tuple[str, Any]]) -> None:
        for key, value in arrived:
            self._store.put(key, value)
            self._under_way.discard(key)
