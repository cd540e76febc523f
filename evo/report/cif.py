"""CIF with the symmetry of the crystal: conventional cell, operations, and one atom of each orbit.

ASE writes CIF without symmetry, and viewers and databases then see a crystal of group P 1.
Hall, Allen, Brown, Acta Cryst. A 47, 655 (1991); names are those of the core dictionary 2.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from ase import Atoms
from ase.data import chemical_symbols
from ase.formula import Formula

from evo.symmetry import Conventional, conventional
from potentials.structures import Floats, Ints

# Å that an atom may be off its place: a relaxation ends closer than the first, a distortion goes further than the last
SYMPRECS = (0.01, 0.02, 0.05)


def write_cif(path: Path, atoms: Atoms, remarks: Iterable[str] = (), number: int | None = None) -> None:
    """One crystal, periodic along three axes; remarks become comments at the top.

    number: of the space group, where it is known: the smallest tolerance that finds it counts, if one does.
    ValueError: the crystal is not periodic along three axes.
    """
    found = [conventional(atoms, SYMPRECS[0])]
    for symprec in SYMPRECS[1:]:
        if number is None or found[-1].number == number:
            break
        found.append(conventional(atoms, symprec))
    crystal = found[-1] if found[-1].number == number else found[0]
    path.write_text(text(crystal, path.stem, remarks), encoding="ascii", errors="replace")


def text(crystal: Conventional, name: str, remarks: Iterable[str] = ()) -> str:
    lengths, angles = crystal.cell.lengths(), crystal.cell.angles()
    counts = Counter(chemical_symbols[z] for z in crystal.numbers.tolist())
    unit, n_units = Formula.from_dict(dict(counts)).reduce()
    lines = [f"# {remark}" for remark in remarks]
    lines += [
        f"data_{name.replace(' ', '_')}",
        f"_chemical_formula_sum '{' '.join(f'{s}{n}' for s, n in unit.count().items())}'",
        f"_cell_formula_units_Z {n_units}",
    ]
    lines += [f"_cell_length_{axis} {length:.8f}" for axis, length in zip("abc", lengths, strict=True)]
    lines += [
        f"_cell_angle_{angle} {value:.8f}" for angle, value in zip(("alpha", "beta", "gamma"), angles, strict=True)
    ]
    lines += [
        f"_cell_volume {crystal.cell.volume:.8f}",
        f"_space_group_IT_number {crystal.number}",
        f"_space_group_name_H-M_alt '{crystal.symbol}'",
        "",
        "loop_",
        "_space_group_symop_id",
        "_space_group_symop_operation_xyz",
    ]
    operations = zip(crystal.rotations, crystal.translations, strict=True)
    lines += [f"{n} '{_operation(r, t)}'" for n, (r, t) in enumerate(operations, start=1)]
    lines += [
        "",
        "loop_",
        "_atom_site_label",
        "_atom_site_type_symbol",
        "_atom_site_symmetry_multiplicity",
        "_atom_site_fract_x",
        "_atom_site_fract_y",
        "_atom_site_fract_z",
        "_atom_site_occupancy",
    ]
    used: Counter[str] = Counter()
    for z, place, multiplicity in zip(crystal.sites, crystal.places, crystal.multiplicities, strict=True):
        symbol = chemical_symbols[z]
        used[symbol] += 1
        places = " ".join(f"{x:.10f}" for x in place)
        lines.append(f"{symbol}{used[symbol]} {symbol} {multiplicity} {places} 1")
    return "\n".join(lines) + "\n"


def _operation(rotation: Ints, translation: Floats) -> str:
    """Such as -y,x-y,z+1/3."""
    parts = []
    for row, shift in zip(rotation, translation, strict=True):
        part = "".join(f"{'+' if n > 0 else '-'}{axis}" for n, axis in zip(row, "xyz", strict=True) if n)
        fraction = Fraction(float(shift) % 1.0).limit_denominator(24) % 1
        parts.append(part.removeprefix("+") + (f"+{fraction}" if fraction else ""))
    return ",".join(parts)
