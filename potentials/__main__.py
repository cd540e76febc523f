"""potentials: the commands of `potentials.commands`.

Exit codes: 0 done, 64 wrong usage, 65 a file that cannot be used, 71 memory ran out, 73 a library that another process
is changing, 74 a file that cannot be written, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from potentials.commands import COMMANDS
from potentials.commands.command import INTERRUPTED, IO, MEMORY, USAGE, Run

# One thread in every linear algebra library: bits must not depend on the machine. Before numpy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    chosen = _parser().parse_args(arguments)
    run: Run = chosen.run
    try:
        run(chosen)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("potentials: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough: `potentials describe LIB | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        by_kind = IO if isinstance(error, OSError) else MEMORY if isinstance(error, MemoryError) else None
        code: int | None = by_kind or getattr(error, "exit_code", None)
        if code is None:
            raise
        print(f"potentials: {error}", file=sys.stderr)
        return code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="potentials", description="Stratified neural-network potentials for crystals.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for command in COMMANDS:
        command.register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
