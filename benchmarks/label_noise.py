"""Label noise: how far energies, forces and stresses move with the k-point mesh, for each spacing and smearing.

    python benchmarks/label_noise.py run [--minutes 40]     # resumable: goes on where it was stopped
    python benchmarks/label_noise.py table

Ten low-symmetry Cu-Pd-Ag cells of 2 to 4 atoms, GPAW; more settings on five of them. Simple meshes centred on Gamma and
shifted by half a step along each axis have errors of opposite sign as a rule: at 0.04/Å their mean is taken for the truth,
which all others are compared with. "centred" is the body-centred mesh of crystals without symmetry (evo/reference/mesh.py).
Pulay constants: the stress of each element at 400 eV less that at 1300 eV. Smearing: the formation energy of B2 CuPd.
Results are in benchmarks/label_noise.json, one entry per calculation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from evo.candidate import Failure
from evo.cell import Space
from evo.create import random
from evo.reference.gpaw import GpawOptions, open_gpaw

FILE = Path(__file__).with_suffix(".json")
SEED = 7
# atoms by atomic number
COMPOSITIONS: tuple[dict[int, int], ...] = (
    {29: 1, 46: 1}, {46: 2}, {29: 1, 47: 1}, {46: 1, 47: 1}, {29: 2}, {47: 2},
    {29: 1, 46: 1, 47: 1}, {29: 1, 46: 2},
    {29: 1, 46: 2, 47: 1}, {29: 2, 46: 2},
)  # fmt: skip
FERMI, COLD = ("fermi-dirac", 0.1), ("marzari-vanderbilt", 0.2)  # eV
NARROW, WIDE = ("fermi-dirac", 0.05), ("fermi-dirac", 0.2)
SIMPLE, CENTRED = ("gamma", "shifted"), ("centred",)
REFERENCE = 0.04  # 1/Å, at which the mean of the two simple meshes is taken for the truth
CHOSEN = (5, 1, 0, 8, 7)  # the cells of the rest
# spacing in 1/Å, smearing, which of the cells, and which meshes
PLAN = (
    (0.08, FERMI, range(10), SIMPLE),
    (0.04, FERMI, range(10), SIMPLE),
    (0.04, FERMI, range(10), CENTRED),
    (0.05, FERMI, range(10), CENTRED),
    (0.05, FERMI, CHOSEN, ("gamma",)),
    (0.04, COLD, (5, 1, 0), SIMPLE),
    (0.06, FERMI, CHOSEN, ("gamma", *CENTRED)),
)
GPA = 160.2176634  # GPa per eV/Å³
LATTICES = {"Cu": 3.641, "Pd": 3.946, "Ag": 4.145, "Au": 4.157}  # Å, PBE, fcc; about
CUTOFFS = (400.0, 800.0, 1300.0)  # eV; copper's stress is not converged at 800


def cells() -> list[Atoms]:
    """The cells, near the volumes of PBE; the same ones every time."""
    made = []
    for n, counts in enumerate(COMPOSITIONS):
        space = Space(tuple(counts), (1, 4), formula=counts)
        crystal = random.create(np.random.default_rng([SEED, n]), counts, space)
        assert crystal is not None
        made.append(crystal)
    return made


def noise_jobs() -> Iterator[tuple[str, Atoms, dict[str, Any]]]:
    """Name, crystal and options of every calculation, the most telling first."""
    crystals = cells()
    for spacing, (smearing, width), chosen, meshes in PLAN:
        for n, kind in product(chosen, meshes):
            options = {"smearing": smearing, "width": width, "kspacing": spacing}
            options |= {"simple": kind != "centred", "shifted": kind == "shifted"}
            yield f"noise {n} {smearing} {width} {spacing} {kind}", crystals[n], options


def pulay_jobs() -> Iterator[tuple[str, Atoms, dict[str, Any]]]:
    """Each element at three volumes and all cut-offs, and two of the cells above as the check."""
    for smearing, width in (FERMI,):
        for symbol, a in LATTICES.items():
            for factor in (0.96, 1.0, 1.04):
                for cutoff in CUTOFFS:
                    options = {"cutoff": cutoff, "kspacing": 0.1, "smearing": smearing, "width": width}
                    yield f"pulay {symbol} {factor} {smearing} {cutoff:g}", bulk(symbol, a=factor * a), options
        for n in (0, 8):
            for cutoff in CUTOFFS:
                options = {"cutoff": cutoff, "kspacing": 0.12, "smearing": smearing, "width": width}
                yield f"pulay cell{n} {smearing} {cutoff:g}", cells()[n], options


def smearing_jobs() -> Iterator[tuple[str, Atoms, dict[str, Any]]]:
    """The elements and B2 CuPd on dense meshes: what smearing does to a formation energy."""
    for smearing, width in (NARROW, FERMI, WIDE, COLD):
        for symbol in ("Cu", "Pd"):
            options = {"smearing": smearing, "width": width, "kspacing": 0.06}
            yield f"smearing {symbol} {smearing} {width}", bulk(symbol, a=LATTICES[symbol]), options
        yield f"smearing CuPd {smearing} {width}", bulk("CuPd", "cesiumchloride", a=3.019), options


def run(minutes: float) -> None:
    """What is missing, in order, until so many CPU minutes are spent in all."""
    done: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {"machine": machine(), "labels": {}}
    engine = open_gpaw({})
    for name, crystal, options in [*pulay_jobs(), *smearing_jobs(), *noise_jobs()]:
        if name in done["labels"]:
            continue
        if sum(x.get("seconds", 0.0) for x in done["labels"].values()) > 60 * minutes:
            print(f"{minutes:g} CPU minutes are spent; more with --minutes", file=sys.stderr)
            break
        found = replace(engine, options=GpawOptions(**options)).evaluate(crystal)
        if isinstance(found, Failure):
            done["labels"][name] = {"failure": [found.reason, found.detail]}
        else:
            done["labels"][name] = {
                "atoms": len(crystal),
                "volume": float(crystal.cell.volume),
                "energy": found.energy,
                "energy_zero": found.energy_zero,
                "forces": found.forces.tolist(),
                "stress": found.stress.tolist(),
                "seconds": found.seconds,
                **found.details,
            }
        unfinished = FILE.with_suffix(".part")
        unfinished.write_text(json.dumps(done, indent=0))
        os.replace(unfinished, FILE)
        print(name, done["labels"][name].get("energy"), done["labels"][name].get("seconds"), flush=True)


def table() -> None:
    """Markdown: the noise of each setting, and the Pulay constants."""
    labels = json.loads(FILE.read_text())["labels"]
    settings: dict[tuple[float, str, str, str], dict[int, dict[str, Any]]] = {}
    for name, found in labels.items():
        if name.startswith("noise") and "energy" in found:
            _, n, smearing, width, spacing, mesh = name.split()
            settings.setdefault((-float(spacing), smearing, width, mesh), {})[int(n)] = found
    print(
        "| 1/Å | smearing, eV | mesh | cells | energy, rms (most) meV/atom | force, mean (most) meV/Å | stress GPa | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (spacing, smearing, width, mesh), cells_of in sorted(settings.items()):
        truth = [settings.get((-REFERENCE, smearing, width, kind), {}) for kind in SIMPLE]
        known = [n for n in cells_of if all(n in t for t in truth)]
        if not known:
            continue
        apart = {
            name: [np.abs(cells_of[n][name] - np.add(truth[0][n][name], truth[1][n][name]) / 2) for n in known]
            for name in ("energy", "forces", "stress")
        }
        energy = 1000 * np.array(apart["energy"]) / [cells_of[n]["atoms"] for n in known]
        force = 1000 * np.concatenate([x.ravel() for x in apart["forces"]])
        stress = GPA * np.array([x.max() for x in apart["stress"]])
        seconds = np.mean([cells_of[n]["seconds"] for n in known])
        print(
            f"| {-spacing:g} | {smearing} {width} | {mesh} | {len(known)} | {np.sqrt((energy**2).mean()):.1f} "
            f"({energy.max():.1f}) | {force.mean():.0f} ({force.max():.0f}) | {stress.mean():.2f} | {seconds:.0f} |"
        )
    print("\n| smearing, eV | Ef of B2 CuPd from free energies, meV/atom | from energies at zero smearing |")
    print("|---|---|---|")
    for smearing, width in (NARROW, FERMI, WIDE, COLD):
        found = [labels.get(f"smearing {s} {smearing} {width}") for s in ("CuPd", "Cu", "Pd")]
        if all(found):
            formed = [500 * (b2[e] - cu[e] - pd[e]) for b2, cu, pd in [found] for e in ("energy", "energy_zero")]
            print(f"| {smearing} {width} | {formed[0]:.1f} | {formed[1]:.1f} |")
    least, middle, most = (f" {cutoff:g}" for cutoff in CUTOFFS)
    print(
        "\n| crystal | (400 eV less 1300 eV) stress, GPa | times volume, eV per atom | 800 eV less 1300 eV | not isotropic, GPa |"
    )
    print("|---|---|---|---|---|")
    for name in (name for name, _, _ in pulay_jobs() if name.endswith(least)):
        low, high = labels.get(name), labels.get(name.removesuffix(least) + most)
        if low and high:
            apart = np.subtract(low["stress"], high["stress"])
            mean = np.trace(apart) / 3
            rest = GPA * np.abs(apart - np.eye(3) * mean).max()
            left = np.trace(np.subtract(labels[name.removesuffix(least) + middle]["stress"], high["stress"])) / 3
            volume = low["volume"] / low["atoms"]
            print(
                f"| {' '.join(name.split()[1:-2])} | {GPA * mean:.2f} | {mean * volume:.3f} | {left * volume:.3f} | {rest:.2f} |"
            )


def machine() -> dict[str, str]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    return {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%F"), "commit": commit}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--minutes", type=float, default=40.0, help="CPU time in all, earlier runs included")
    options = parser.parse_args()
    if options.what == "run":
        run(options.minutes)
    else:
        table()
