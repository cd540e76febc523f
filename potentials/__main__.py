"""potentials: describe a library, evaluate or relax the crystals of a file, train a stratum.

Exit codes: 0 done, 64 wrong usage, 65 a file that cannot be used, 74 a file that cannot be written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from ase import Atoms

    from potentials.library import Library
    from potentials.potential import Potential
    from potentials.stratum import Stratum
    from potentials.structures import Prediction, Structures

# One thread in every linear algebra library: bits must not depend on the machine. Before numpy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"

USAGE, DATA, IO = 64, 65, 74


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


class _Unusable(ValueError):
    """A file that cannot be used."""

    exit_code = DATA


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    chosen = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = chosen.run
    try:
        run(chosen)
    except Exception as error:
        code: int | None = IO if isinstance(error, OSError) else getattr(error, "exit_code", None)
        if code is None:
            raise
        print(f"potentials: {error}", file=sys.stderr)
        return code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="potentials", description="Stratified neural-network potentials for crystals.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("library", metavar="LIB", type=Path, help="directory of the library")
        return sub

    command("describe", _describe, "List the strata of a library with their errors and costs.")
    evaluate = command("evaluate", _evaluate, "Energies, forces and stresses of the crystals of a file.")
    relax = command("relax", _relax, "Relax the crystals of a file, positions and cell.")
    for sub in (evaluate, relax):
        sub.add_argument("file", metavar="FILE", type=Path, help="any format that ASE reads")
        sub.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="extxyz file to write")
        sub.add_argument("--threads", metavar="N", type=int, default=1, help="threads (default 1)")
    relax.add_argument("--pressure", metavar="GPA", type=float, default=0.0, help="external pressure in GPa")
    relax.add_argument("--fixed-cell", action="store_true", help="move atoms only")
    relax.add_argument("--fmax", metavar="F", type=float, default=0.01, help="largest force at the end, eV/Å")
    relax.add_argument("--max-calls", metavar="N", type=int, default=300, help="force calls per crystal, at most")
    train = command("train", _train, "Train a stratum, and first what is missing below it.")
    train.add_argument("stratum", metavar="STRATUM", help="elements, for instance CuPd")
    train.add_argument("--data", metavar="FILE", type=Path, required=True, help="extxyz with energies and forces")
    train.add_argument("--cutoff", metavar="R", type=float, default=5.0, help="of a library that is made now, Å")
    train.add_argument("--iterations", metavar="N", type=int, default=None, help="instead of the usual number")
    return parser


def _describe(chosen: argparse.Namespace) -> None:
    from potentials.library import Library

    library = Library.open(chosen.library)
    shape, recipe = library.recipe.shape, library.recipe
    print(f"{library.path}  {library.version()}")
    print(
        f"cut-off {shape.cutoff} Å, n {shape.n_max}, l {shape.l_max}, pair {shape.n_pair}, "
        f"hidden {recipe.hidden}, members {recipe.members}"
    )
    print(f"{'stratum':<10}{'version':>8}{'own':>7}{'total':>7}{'data':>6}", end="")
    print(f"{'meV/atom':>10}{'held out':>10}{'meV/Å':>8}{'held out':>10}{'CPU s':>8}")
    for row in library.describe():
        print(f"{row.stratum:<10}{row.version:>8}{row.n_parameters:>7}{row.n_total:>7}{row.n_data:>6}", end="")
        for key, width in (("energy_train", 10), ("energy_held_out", 10), ("force_train", 8), ("force_held_out", 10)):
            value = row.errors.get(key)
            print(f"{'-' if value is None else format(1e3 * value, '.1f'):>{width}}", end="")
        print(f"{row.seconds:>8.1f}")


def _evaluate(chosen: argparse.Namespace) -> None:
    potential, structures = _loaded(chosen)
    prediction = potential.evaluate(structures, n_threads=chosen.threads)
    _write(chosen.output, structures, prediction, potential, [])


def _relax(chosen: argparse.Namespace) -> None:
    from potentials.relax import relax
    from potentials.units import EV_PER_A3_PER_GPA

    potential, structures = _loaded(chosen)
    try:
        relaxed = relax(
            lambda s: potential.evaluate(s, n_threads=chosen.threads),
            structures,
            pressure=chosen.pressure * EV_PER_A3_PER_GPA,
            fmax=chosen.fmax,
            max_calls=chosen.max_calls,
            fixed_cell=chosen.fixed_cell,
        )
    except ValueError as error:  # a combination that cannot be, such as a pressure on a cluster
        raise _Unusable(str(error)) from None
    _write(chosen.output, relaxed.structures, relaxed.prediction, potential, relaxed.outcomes)
    for outcome in sorted(set(relaxed.outcomes)):
        print(f"{relaxed.outcomes.count(outcome)} {outcome}")


def _train(chosen: argparse.Namespace) -> None:
    from potentials.dataset import read_dataset
    from potentials.train import finish, fit_member, plan

    dataset, wanted = read_dataset(chosen.data), _stratum(chosen.stratum)
    library = _library_to_train(chosen)
    for stratum in wanted.subsets():
        if stratum.order > 3 or (stratum != wanted and stratum.name in library.versions()):
            continue
        tasks = plan(library, library.versions(), dataset, stratum, iterations=chosen.iterations)
        trained = finish(tasks, [fit_member(task) for task in tasks])
        number = library.add(trained)
        errors = trained.metadata["errors"]
        text = ", ".join(f"{k.replace('_', ' ')} {1e3 * v:.1f}" for k, v in errors.items())
        print(f"{stratum.name} version {number}: {text} (meV/atom, meV/Å)")


def _library_to_train(chosen: argparse.Namespace) -> Library:
    from potentials.library import Library, Recipe
    from potentials.network import Shape

    if (chosen.library / "library.json").exists():
        return Library.open(chosen.library)
    return Library.create(chosen.library, Recipe(Shape(chosen.cutoff, n_max=4, l_max=3, n_pair=8)))


def _loaded(chosen: argparse.Namespace) -> tuple[Potential, Structures]:
    from potentials.library import Library
    from potentials.stratum import Stratum
    from potentials.structures import Structures

    structures = Structures.from_ase(_read(chosen.file))
    library = Library.open(chosen.library)
    return library.assemble(Stratum.of(structures.numbers.tolist())), structures


def _read(path: Path) -> list[Atoms]:
    from ase.io import read

    try:
        crystals: Any = read(path, index=":")
    except Exception as error:  # noqa: BLE001 - the readers raise whatever the first odd byte leads to
        raise _Unusable(f"{path} cannot be read: {type(error).__name__}: {error}".splitlines()[0]) from None
    if not crystals or any(len(a) == 0 for a in crystals):
        raise _Unusable(f"{path} holds no crystals, or one without atoms")
    return list(crystals)


def _stratum(name: str) -> Stratum:
    from potentials.stratum import Stratum

    try:
        return Stratum.parse(name)
    except ValueError as error:
        error.exit_code = USAGE  # type: ignore[attr-defined]
        raise


def _write(
    path: Path, structures: Structures, prediction: Prediction, potential: Potential, outcomes: list[str]
) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    grades, images = potential.grades(structures), structures.to_ase()
    for c, atoms in enumerate(images):
        part = slice(structures.offsets[c], structures.offsets[c + 1])
        known = {"energy": prediction.energies[c], "forces": prediction.forces[part]}
        if atoms.pbc.all():
            known["stress"] = prediction.stresses[c][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, **known)
        atoms.info.update(method=potential.method, spread=float(prediction.spreads[c]), grade=float(grades[c]))
        if outcomes:
            atoms.info["outcome"] = outcomes[c]
    write(path, images, format="extxyz")


if __name__ == "__main__":
    sys.exit(main())
