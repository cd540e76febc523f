"""One single point with GPAW: a program of its own, so that a crash, a hang or another Python touches nothing else.

    python gpaw_program.py about SYMBOL...      versions and PAW sets, as JSON on stdout
    python gpaw_program.py run job.json result.json

It is run by the Python that has GPAW and knows nothing of this project. Energies in eV, lengths in Å, stress in eV/Å³.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> int:
    if arguments[0] == "about":
        json.dump(about(arguments[1:]), sys.stdout)
        return 0
    job = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
    found = run(job)
    if is_first_rank():
        result = Path(arguments[2])
        unfinished = result.with_suffix(".part")
        unfinished.write_text(json.dumps(found), encoding="utf-8")
        os.replace(unfinished, result)
    return 0


def is_first_rank() -> bool:
    """Whether this process writes the result, where a launcher has started several."""
    from gpaw.mpi import world

    return int(world.rank) == 0


def about(settings: list[str]) -> dict[str, Any]:
    """Versions, and for each symbol that has a PAW set its valence and the fingerprint of its file.

    The first argument is JSON: xc and the names of PAW sets that are not the default.
    """
    chosen = json.loads(settings[0])
    return {
        "versions": {name: importlib.metadata.version(name) for name in ("gpaw", "gpaw-data")},
        "setups": {s: paw_set(s, chosen["xc"], chosen["setups"].get(s, "paw")) for s in settings[1:]},
    }


def paw_set(symbol: str, xc: str, name: str) -> dict[str, Any] | None:
    """Valence electrons and MD5 of the file of this PAW set; None when there is no such file.

    `name` may have a Hubbard correction after a colon, which belongs to no file: ":d,6.0".
    """
    from gpaw.setup_data import SetupData
    from gpaw.xc import XC

    try:  # SCAN, hybrids and others are run with the sets of a functional that has some
        data = SetupData(symbol, XC(xc).get_setup_name(), name.partition(":")[0] or "paw")
    except FileNotFoundError:
        return None
    return {"valence": data.Nv, "file": data.fingerprint}


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Energies, forces, stress and how they came about, or the reason why there are none."""
    from ase import Atoms
    from gpaw import GPAW, PW, KohnShamConvergenceError

    atoms = Atoms(job["numbers"], positions=job["positions"], cell=job["cell"], pbc=job["pbc"])
    if any(job.get("moments", ())):
        atoms.set_initial_magnetic_moments(job["moments"])
    # an element without a set ends here with a TypeError; `Gpaw.cannot` names such elements before
    valence = sum(paw_set(s, job["xc"], job["setups"].get(s, "paw"))["valence"] for s in atoms.symbols)  # type: ignore[index]
    occupied = (valence + sum(abs(m) for m in job.get("moments", ()))) / 2  # by the spin that has more of them
    bands = math.ceil(job["bands"] * occupied) + 4
    atoms.calc = GPAW(
        mode=PW(job["cutoff"]),
        xc=job["xc"],
        setups=job["setups"] or {},
        kpts=job["k_points"],
        occupations={"name": job["smearing"], "width": job["width"]},
        nbands=bands,
        convergence={"energy": job["tolerance"], "density": job["tolerance"]},
        symmetry=job["symmetry"],
        maxiter=job["most_steps"],
        txt="gpaw.txt",
        **({"mixer": job["mixer"]} if job["mixer"] else {}),
    )
    try:
        free = atoms.get_potential_energy(force_consistent=True)
    except KohnShamConvergenceError as error:
        return {"failure": ["unconverged", str(error)]}
    calculation = atoms.calc
    forces = atoms.get_forces()
    try:
        stress = atoms.get_stress(voigt=False).tolist()
    except NotImplementedError:  # GPAW has no stress with some functionals and corrections; the label goes without it
        stress = None
    return {
        "free_energy": float(free),
        "energy_zero": float(atoms.get_potential_energy()),
        "forces": forces.tolist(),
        "stress": stress,
        "moments": atoms.get_magnetic_moments().tolist() if any(job.get("moments", ())) else None,
        "gap": gap(calculation),
        "steps": int(calculation.get_number_of_iterations()),
        "k_points": len(calculation.get_ibz_k_points()),
        "bands": bands,
        "version": importlib.metadata.version("gpaw"),
    }


def gap(calculation: Any) -> float:
    """eV between the highest occupied and the lowest empty state on the mesh, the smaller of both spins; 0 for a metal."""
    highest, lowest = calculation.get_homo_lumo()
    return max(0.0, float(lowest - highest))


if __name__ == "__main__":
    sys.path.pop(0)  # this file's folder, where `import gpaw` would find the engine instead of GPAW
    sys.exit(main(sys.argv[1:]))
