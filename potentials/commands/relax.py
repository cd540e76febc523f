"""potentials relax LIB FILE -o OUT.extxyz"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from potentials.commands.command import Commands, Misused, Unusable, add_command, finite
from potentials.commands.crystals import STDOUT, add_files, by_stratum, predicted, read_crystals, warn, write

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from potentials.potential import Potential
    from potentials.relax import Relaxed


def register(commands: Commands) -> None:
    parser = add_command(commands, "relax", run, "Relax the crystals of a file, positions and cell.")
    add_files(parser)
    parser.add_argument("--pressure", metavar="GPA", type=finite, default=0.0, help="external pressure in GPa")
    parser.add_argument("--fixed-cell", action="store_true", help="move atoms only")
    parser.add_argument("--fmax", metavar="F", type=finite, default=0.01, help="largest force at the end, eV/Å")
    parser.add_argument(
        "--smax", metavar="GPa", type=finite, default=0.1, help="largest component of the stress at the end, GPa"
    )
    parser.add_argument("--max-calls", metavar="N", type=int, default=300, help="force calls per crystal, at most")
    parser.add_argument("--symmetry", action="store_true", help="make each crystal symmetric and keep its space group")


def run(chosen: argparse.Namespace) -> None:
    import numpy as np

    from potentials.library import Library
    from potentials.units import EV_PER_A3_PER_GPA

    _check(chosen)
    library, crystals = Library.open(chosen.library), read_crystals(chosen)
    _check_free(chosen, crystals)
    if chosen.pressure:
        for n, atoms in enumerate(crystals):
            if not atoms.pbc.all():
                raise Unusable(
                    f"{chosen.file}: crystal {n + 1} is not periodic along three axes; relax it without --pressure"
                )
    _check_size(chosen, crystals)
    crystals = _symmetrised(chosen, crystals)
    lines, grades, outcomes = [""] * len(crystals), np.zeros(len(crystals)), []
    groups = list(by_stratum(library, chosen.file, crystals))
    hollow = _hollow(chosen, groups, crystals)
    for potential, indices in groups:
        own = [crystals[n] for n in indices]
        for group, relaxed in _relaxed(chosen, potential, own, hollow[indices]):
            said: list[dict[str, Any]] = [{"outcome": outcome} for outcome in relaxed.outcomes]
            if chosen.pressure:
                enthalpies = (
                    relaxed.prediction.energies + chosen.pressure * EV_PER_A3_PER_GPA * relaxed.structures.volumes
                )
                for info, enthalpy in zip(said, enthalpies, strict=True):
                    info |= {"enthalpy": float(enthalpy), "pressure_GPa": chosen.pressure}
            mine = [own[k] for k in group]
            texts, worst = predicted(relaxed.structures, relaxed.prediction, potential, mine, chosen.threads, said)
            for k, text, grade in zip(group, texts, worst.tolist(), strict=True):
                lines[indices[k]], grades[indices[k]] = text, grade
            outcomes += relaxed.outcomes
    write(chosen.output, lines)
    warn(library, crystals, grades)
    for outcome in sorted(set(outcomes)):
        print(f"{outcomes.count(outcome)} {outcome}", file=sys.stderr if str(chosen.output) in STDOUT else sys.stdout)


def _check(chosen: argparse.Namespace) -> None:
    if chosen.fmax <= 0:
        raise Misused(f"--fmax must be positive, got {chosen.fmax}")
    if chosen.smax <= 0:
        raise Misused(f"--smax must be positive, got {chosen.smax}")
    if chosen.max_calls < 1:
        raise Misused(f"--max-calls must be at least 1, got {chosen.max_calls}")
    if chosen.pressure and chosen.fixed_cell:
        raise Misused("--pressure acts on the cell; leave out --fixed-cell")


def _check_size(chosen: argparse.Namespace, crystals: list[Atoms]) -> None:
    """Unusable where one is too large: dense inverse Hessians take 360 N² bytes."""
    from potentials.batch import footprint
    from potentials.memory import free_bytes

    free = free_bytes()
    for n, atoms in enumerate(crystals):
        if (needed := footprint(len(atoms))) > free:
            raise Unusable(
                f"{chosen.file}: crystal {n + 1} has {len(atoms)} atoms, for which this relaxation needs "
                f"{needed / 2**30:.1f} GiB ({free / 2**30:.1f} are free); relax it with ASE's LBFGS and potentials.calculator"
            )


def _check_free(chosen: argparse.Namespace, crystals: list[Atoms]) -> None:
    """Unusable where the file fixes atoms: they would move all the same."""
    for n, atoms in enumerate(crystals):
        if kinds := sorted({type(c).__name__ for c in atoms.constraints}):
            raise Unusable(
                f"{chosen.file}: crystal {n + 1} has constraints ({', '.join(kinds)}), which this relaxation does not keep; "
                "remove them from the file, or relax it with ASE and potentials.calculator"
            )


def _symmetrised(chosen: argparse.Namespace, crystals: list[Atoms]) -> list[Atoms]:
    """Each made exact; one that spglib says nothing of stays as it is, with a line on stderr."""
    if not chosen.symmetry:
        return crystals
    from potentials.symmetry import NoGroupError, SymmetryError, symmetrised

    exact = []
    for n, atoms in enumerate(crystals):
        try:
            exact.append(symmetrised(atoms))
        except NoGroupError as error:
            print(f"{chosen.file}: crystal {n + 1} {error}; it is relaxed without symmetry", file=sys.stderr)
            exact.append(atoms)
        except SymmetryError as error:
            raise Unusable(f"{chosen.file}: crystal {n + 1} {error}") from None
    return exact


def _hollow(
    chosen: argparse.Namespace, groups: list[tuple[Potential, list[int]]], crystals: list[Atoms]
) -> NDArray[np.bool_]:
    """(n, 3) the axes across which a crystal holds vacuum, of which a line on stderr tells; Unusable under a pressure."""
    import numpy as np

    from potentials.structures import Structures
    from potentials.vacuum import empty_axes

    found = np.zeros((len(crystals), 3), dtype=bool)
    for potential, indices in groups if not chosen.fixed_cell else ():
        found[indices] = empty_axes(Structures.from_ase([crystals[n] for n in indices]), potential.cutoff)
    which = np.flatnonzero(found.any(axis=1))
    if not len(which):
        return found
    axes = ", ".join(name for name, empty in zip("abc", found[which[0]], strict=True) if empty)
    first = f"crystal {which[0] + 1} holds vacuum across {axes}, wider than the potential reaches"
    if chosen.pressure:
        raise Unusable(f"{chosen.file}: {first}; relax it without --pressure, which would close it up")
    more = f" (and {len(which) - 1} more such)" if len(which) > 1 else ""
    print(f"{chosen.file}: {first}{more}: the cell keeps that", file=sys.stderr)
    return found


def _relaxed(
    chosen: argparse.Namespace, potential: Potential, crystals: list[Atoms], hollow: NDArray[np.bool_]
) -> list[tuple[list[int], Relaxed]]:
    """All of them in one batch; one by one where each has a group of its own to keep. Cells keep their `hollow` axes."""
    from dataclasses import replace

    from potentials.relax import relax
    from potentials.structures import Structures
    from potentials.symmetry import keeping_symmetry
    from potentials.units import EV_PER_A3_PER_GPA

    options: dict[str, Any] = {
        "pressure": chosen.pressure * EV_PER_A3_PER_GPA,
        "fmax": chosen.fmax,
        "smax": chosen.smax * EV_PER_A3_PER_GPA,
        "max_calls": chosen.max_calls,
        "fixed_cell": chosen.fixed_cell,
    }

    def evaluate(structures: Structures) -> Any:
        return potential.evaluate(structures, n_threads=chosen.threads)

    def relaxed(how: Any, indices: list[int]) -> Relaxed:
        given = Structures.from_ase([crystals[k] for k in indices])
        bound = replace(given, periodic=given.periodic & ~hollow[indices])
        found = relax(how, bound, **options)
        return replace(found, structures=replace(found.structures, periodic=given.periodic))

    if not chosen.symmetry:
        return [(whole, relaxed(evaluate, whole))] if (whole := list(range(len(crystals)))) else []
    return [([k], relaxed(keeping_symmetry(evaluate, atoms), [k])) for k, atoms in enumerate(crystals)]
