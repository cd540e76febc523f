"""Cost: CPU seconds that a call will take, predicted from the crystal alone, so that choices do not depend on the machine.

A plane-wave calculation takes about 3 s and 0.036 s n² for each k-point that symmetry leaves, n atoms: what Cu-Pd-Ag crystals
of 1 to 4 atoms took in all with GPAW at 400 eV on one core of 2.4 GHz (runs/cu-pd-ag-pbe; two of three lie within 1.6 times
that). Quantum ESPRESSO takes twice as long; VASP, which was not timed, is
taken to be as fast as GPAW. Ratios between crystals are what matters here.
"""

from __future__ import annotations

from ase import Atoms

from evo.reference.job import JobOptions
from evo.reference.mesh import SYMPREC, mesh, points_left
from evo.settings import ReferenceSection
from evo.symmetry import laue_rotations

PER_POINT = {"gpaw": 0.036, "espresso": 0.072, "vasp": 0.036}  # s, of one atom and one k-point
START = 3.0  # s


def predicted_seconds(section: ReferenceSection, atoms: Atoms) -> float:
    """CPU s of one single point; `atom_seconds` for each atom where the engine is a calculator in this process."""
    if section.engine not in PER_POINT:
        return section.atom_seconds * len(atoms)
    spacing = float(section.options.get("kspacing", JobOptions.model_fields["kspacing"].default))
    points = mesh(atoms, spacing, simple=bool(section.options.get("simple")))
    left = max(1.0, points_left(points.size, laue_rotations(atoms, SYMPREC)) * (2 if points.centred else 1))
    return START + PER_POINT[section.engine] * len(atoms) ** 2 * left
