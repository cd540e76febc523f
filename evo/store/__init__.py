"""Where a campaign keeps what was computed; every acknowledged result is durable."""

from evo.store.sqlite import Store, StoreError, StoreLocked

__all__ = ["Store", "StoreError", "StoreLocked"]
