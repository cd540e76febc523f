"""potentials import-maise FILE... -o LIB"""

from __future__ import annotations

import argparse
from pathlib import Path

from potentials.commands.command import Commands, Misused


def register(commands: Commands) -> None:
    text = "Read published models of MAISE, neural networks or Gupta potentials, into a library."
    parser = commands.add_parser("import-maise", help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="models of one family: Cu, Pd, CuPd ...")
    parser.add_argument("-o", "--output", metavar="LIB", type=Path, required=True, help="directory of the library")
    parser.add_argument(
        "--urep",
        metavar="EV",
        type=float,
        default=0.0,
        help="energy of the hard cores that MAISE adds by itself (there 100 eV); default 0, none",
    )


def run(chosen: argparse.Namespace) -> None:
    from potentials.library import Library
    from potentials.maise.importing import import_files

    if not 0.0 <= chosen.urep < float("inf"):
        raise Misused(f"--urep must be an energy in eV, 0 or more, got {chosen.urep}")
    strata = import_files(chosen.files, chosen.output, chosen.urep)
    print(f"{chosen.output}  {Library.open(chosen.output).version()}")
    for name, file in strata:
        print(f"{name:<10} {file}")
