"""Cost: CPU seconds that a call will take, predicted from the crystal alone, so that choices do not depend on the machine.

Fitted to what Cu-Pd-Ag crystals of 1 to 8 atoms took in all with GPAW at 400 eV on one core of 2.4 GHz (runs/cu-pd-ag-pbe;
two of three lie within 1.5 times that). Quantum ESPRESSO takes twice as long; VASP, which was not timed, is taken to be as fast
as GPAW. Ratios between crystals are what matters here.
"""

from __future__ import annotations

from ase import Atoms

from evo.reference import OPTIONS
from evo.reference.job_cell import work
from evo.settings import ReferenceSection

PER_POINT = {"gpaw": 0.0208, "espresso": 0.042, "vasp": 0.0208}  # s, of one atom and one k-point
START = 7.9  # s


def predicted_seconds(section: ReferenceSection, atoms: Atoms) -> float:
    """CPU s of one single point; `atom_seconds` for each atom where the engine is a calculator in this process."""
    if section.engine not in PER_POINT:
        return section.atom_seconds * len(atoms)
    # unchecked, so that a prediction needs no more than it depends on: not the version of VASP, for instance
    known = {name: section.options[name] for name in ("kspacing", "simple") if name in section.options}
    options = OPTIONS[section.engine].model_construct(**known)
    job = options.job_cell(atoms)
    return START + PER_POINT[section.engine] * work(job, options.kspacing, simple=options.simple, grids=options.grids)
