"""What the cell of a DFT job saves: crystals with symmetry, as they were labelled once and as they would be labelled now.

    python benchmarks/job_cells.py                       # counts k-points and predicts work; no DFT
    python benchmarks/job_cells.py --label 6             # GPAW once more for the six that save most; prints CPU s and energies

The labels are those of runs/cu-pd-ag-pbe up to commit 2d3ffde, whose provenance has the k-points that GPAW worked out and the CPU
seconds it took. Work is what evo/reference/job_cell.py takes it to be: k-points n^2.2 of n atoms, times what the grid grows by.
Results of --label are kept in job_cells.json.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

from evo.reference import open_reference
from evo.reference.gpaw import GpawOptions
from evo.reference.job import JobOptions, checked_options
from evo.reference.job_cell import work
from evo.reference.label import Label
from evo.reference.mesh import SYMPREC
from evo.settings import load_reference
from evo.symmetry import laue_rotations

HERE = Path(__file__).resolve().parent
RUN = HERE.parent / "runs" / "cu-pd-ag-pbe"
LABELLED = ("searched.extxyz", "labels.extxyz.xz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label", type=int, default=0, metavar="N", help="label so many once more")
    asked = parser.parse_args()
    settings = load_reference(RUN / "reference.toml")
    options = checked_options(GpawOptions, settings.options)
    rows = [
        row for name in LABELLED for atoms in read(RUN / name, ":") if (row := compared(atoms, options)) is not None
    ]
    print(f"{len(rows)} crystals with more symmetry than inversion")
    for low, high in ((0.0, 0.99), (0.99, 1.01), (1.01, 1.5), (1.5, 3.0), (3.0, np.inf)):
        inside = [r for r in rows if low <= r["saves"] < high]
        hours = sum(r["seconds"] for r in inside) / 3600
        print(f"  {len(inside):4} save a factor of {low} to {high}: {hours:.2f} CPU h as labelled")
    before = sum(r["seconds"] for r in rows) / 3600
    now = sum(r["seconds"] / r["saves"] for r in rows) / 3600
    print(f"all of them: {before:.2f} CPU h as labelled, {now:.2f} as predicted now")
    if asked.label:
        relabel(sorted(rows, key=lambda r: -r["seconds"] * (1 - 1 / r["saves"]))[: asked.label], settings)


def compared(atoms: Atoms, options: JobOptions) -> dict[str, Any] | None:
    """k-points as labelled and now, and the factor that is saved; None for crystals without symmetry, or of another mesh rule."""
    provenance = json.loads(atoms.info["provenance"])
    job = options.job_cell(atoms)
    if "k_points" not in provenance or len(laue_rotations(job, SYMPREC)) == 2:
        return None
    # as it was: the cell that the engines without grids still have, with the k-points that GPAW then found
    plain = JobOptions(kspacing=options.kspacing).job_cell(atoms)
    mesh = options.mesh(plain, None)
    if list(mesh.size) != list(provenance["mesh"]):
        return None
    points = mesh.left(laue_rotations(plain, SYMPREC))
    before = work(plain, options.kspacing, grids=True) * provenance["k_points"] / points
    return {
        "atoms": atoms,
        "formula": atoms.get_chemical_formula(),
        "cells": (len(plain), len(job)),
        "k_points": (provenance["k_points"], options.mesh(job, None).left(laue_rotations(job, SYMPREC))),
        "saves": before / work(job, options.kspacing, grids=True),
        "seconds": float(atoms.info["seconds"]),
    }


def relabel(rows: list[dict[str, Any]], settings: Any) -> None:
    """GPAW once more, beside what it said and took."""
    reference = open_reference(settings)
    assert reference is not None
    print(f"{'crystal':10}{'atoms':>10}{'k-points':>12}{'CPU s':>16}{'energy, meV/atom':>20}{'forces, meV/Å':>16}")
    found = []
    for row in rows:
        atoms = row["atoms"]
        label = reference.evaluate(atoms)
        if not isinstance(label, Label):
            print(f"{row['formula']:10}{label.reason} {label.detail}")
            continue
        energy = 1e3 * (label.energy - atoms.get_potential_energy()) / len(atoms)
        force = 1e3 * float(np.abs(label.forces - atoms.get_forces()).max())
        cells, points = ("{} to {}".format(*row[key]) for key in ("cells", "k_points"))
        seconds = f"{row['seconds']:.0f} to {label.seconds:.0f}"
        print(f"{row['formula']:10}{cells:>10}{points:>12}{seconds:>16}{energy:>20.2f}{force:>16.1f}", flush=True)
        kept = {key: row[key] for key in ("formula", "cells", "k_points")}
        found.append(kept | {"seconds": (row["seconds"], label.seconds), "energy_meV": energy, "force_meV": force})
        text = json.dumps({"machine": platform.processor() or platform.machine(), "crystals": found}, indent=1)
        (HERE / "job_cells.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
