"""The command line, one file per command: `register(commands)` says what it takes, `run(chosen)` does it.

Nothing here imports numpy or torch before a command runs, so that `potentials --help` answers at once.
"""

from __future__ import annotations

from potentials.commands import assess, copy, data, describe, evaluate, import_maise, refit, relax, train

COMMANDS = (
    data,
    train,
    refit,
    describe,
    evaluate,
    relax,
    assess,
    copy,
    import_maise,
)
