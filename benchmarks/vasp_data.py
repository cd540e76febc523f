"""Structures of Cu-Ag and of its elements with VASP-PBE labels, for `vasp_cu_ag.py`.

The 424 of Cu and Ag: MAISE (Hajinazar et al., Comput. Phys. Commun. 259, 107679 (2021)), ../shared/maise/cuag_vasp_pbe.json.
Crystals of one element are made here and labelled by its published networks nn_Cu_d3_vp and nn_Ag_d3_vp, which were trained
on the same VASP set-up.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from potentials.dataset import Dataset
from potentials.library import Library
from potentials.maise.importing import import_files
from potentials.stratum import Stratum
from potentials.structures import Structures
from potentials.units import EV_PER_A3_PER_GPA

MAISE = Path(__file__).resolve().parents[2] / "shared" / "maise"
DATA, MODELS = MAISE / "cuag_vasp_pbe.json", MAISE / "models"
METHOD = "vasp-pbe"
VACUUM = 1000.0  # Å³ per atom; a larger cell holds a cluster. Its stress is an artefact: 0.2 to 0.4 eV times 1/volume
ELEMENTS = {"Cu": 3.633, "Ag": 4.161}  # Å, fcc
LATTICES = {"fcc": 2**0.5, "bcc": 2 / 3**0.5, "sc": 1.0, "hcp": 1.0, "diamond": 4 / 3**0.5}  # a over nearest distance


def load(path: Path) -> Dataset:
    """The structures as published; clusters are not periodic and have no stress. Families are directories of the source."""
    found = json.loads(path.read_text())["structures"]
    crystals, stresses = [], []
    for s in found:
        atoms = Atoms(s["symbols"], positions=s["positions_cart_A"], cell=s["cell_A"], pbc=True)
        xx, yy, zz, xy, yz, zx = s["vasp_stress_kB_xx_yy_zz_xy_yz_zx"]
        stress = -0.1 * EV_PER_A3_PER_GPA * np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
        if atoms.get_volume() > VACUUM * len(atoms):
            atoms.pbc, stress = False, np.full((3, 3), np.nan)
        crystals.append(atoms)
        stresses.append(stress)
    return Dataset.of(
        crystals,
        energies=[s["energy_eV"] for s in found],
        forces=[np.array(s["forces_eV_per_A"]) for s in found],
        stresses=stresses,
        method=METHOD,
        families=[s["path"] for s in found],
    )


def is_equation_of_state(dataset: Dataset) -> np.ndarray:
    return dataset.structures.sizes == 4


def elements() -> list[Atoms]:
    """125 crystals of each element: five lattices at many volumes, and one-atom cells under large strains."""
    made = []
    for symbol, constant in ELEMENTS.items():
        rng, nearest = np.random.default_rng(5), constant / np.sqrt(2)
        for crystal, factor in LATTICES.items():
            for x in np.linspace(0.75, 1.30, 14):
                if crystal != "diamond" or x <= 1.1:
                    made.append(bulk(symbol, crystal, nearest * x * factor))
        strained = 0
        while strained < 60:
            lattice = ("fcc", "bcc", "sc")[strained % 3]
            volume = constant**3 / 4 * rng.uniform(0.65, 1.7)
            cell = np.asarray(bulk(symbol, lattice, 4.0).cell) @ (np.eye(3) + rng.uniform(-0.25, 0.25, (3, 3)))
            atoms = Atoms(symbol, cell=cell * np.cbrt(volume / abs(np.linalg.det(cell))), pbc=True)
            if neighbor_list("d", atoms, 5.0).min(initial=np.inf) > 0.78 * nearest:
                made.append(atoms)
                strained += 1
    return made


def labelled_elements() -> Dataset:
    """Those crystals with what the published networks say of them; the set-up is that of the other labels."""
    crystals = elements()
    with tempfile.TemporaryDirectory() as directory:
        import_files([MODELS / f"nn_{symbol}_d3_vp" for symbol in ELEMENTS], Path(directory) / "published")
        published = Library.open(Path(directory) / "published")
        potentials = {symbol: published.assemble(Stratum.parse(symbol)) for symbol in ELEMENTS}
    said = [potentials[a.symbols[0]].evaluate(Structures.from_ase([a])) for a in crystals]
    return Dataset.of(
        crystals,
        energies=[float(p.energies[0]) for p in said],
        forces=[p.forces for p in said],
        stresses=[p.stresses[0] for p in said],
        method=METHOD,
        families=[f"published {c}" for c in range(len(crystals))],
    )
