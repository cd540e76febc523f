"""Which optimiser: calls, time and the minima reached, for random cells; and which potential a relaxation follows.

    python benchmarks/optimisers.py [--cells 256] [--peers 24] [-o FILE]

Random 8-atom Cu-Pd-Ag cells (`speed_models.random_cells`) until the largest force is 0.01 eV/Å and the largest stress 0.1 GPa,
by the campaign's committee. Ours run in one batch, each in the place of the trust-region BFGS (`descents`), with the same
initial curvature and scale of strain; "springs" starts from a Hessian of springs between neighbours in place of a diagonal
one; ASE's run one by one on the first `--peers` cells, with our calculator and the same test at the end. Energies are against
our L-BFGS from the same starts. The last table relaxes by the committee's mean, by one member, and by one member first.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one core

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.precon import Exp, PreconLBFGS
from descents import CappedBfgs, Fire, Lbfgs
from speed_models import TRAIN, quoted, random_cells
from speed_timing import RESULTS, here
from strata import save

from potentials import batch as batch_module
from potentials import stream as stream_module
from potentials.batch import Batch, End, Limits
from potentials.calculator import StratifiedCalculator
from potentials.descent import CURVATURE, Descent
from potentials.network import Model
from potentials.potential import Potential
from potentials.relax import Relaxed, relax
from potentials.structures import Floats, Prediction, Structures
from potentials.units import EV_PER_A3_PER_GPA

FMAX, SMAX, MOST = 0.01, 0.1 * EV_PER_A3_PER_GPA, 500
ALIKE = 0.001  # eV/atom


class SpringBatch(Batch):
    """Crystals whose first Hessian is that of springs between neighbours, softer with distance (Packwood et al., 2016)."""

    def absorb(self, prediction: Prediction, limits: Limits) -> list[End]:
        new = self.descent is None
        ends = super().absorb(prediction, limits)
        if new and self.descent is not None and self.now is not None:
            self.descent.inverses = np.linalg.inv(springs(self.now.positions, self.now.cells, self.crystals.real))
        return ends


def springs(positions: Floats, cells: Floats, real: np.ndarray) -> Floats:
    """(c, n, n) eV/Å²: -k exp(-3 (r/r0 - 1)) between atoms, scaled so that the mean diagonal is `CURVATURE`; strain diagonal."""
    c, p, _ = positions.shape
    steps = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    shifts = np.einsum("mk,cka->cma", steps, cells)
    apart = positions[:, None, :, None] - positions[:, :, None, None] + shifts[:, None, None]
    r = np.linalg.norm(apart, axis=4)
    r = np.where((r < 1e-9) | ~(real[:, :, None] & real[:, None, :])[..., None], np.inf, r)
    nearest = r.min(axis=(1, 2, 3))[:, None, None, None]
    coupling = np.where(r < 2 * nearest, np.exp(-3 * (r / nearest - 1)), 0.0).sum(axis=3)
    laplacian = np.einsum("cij,ij->cij", coupling.sum(axis=2)[:, :, None] * np.ones(p), np.eye(p)) - coupling
    mean = np.einsum("cii->c", laplacian) / real.sum(axis=1)
    laplacian = CURVATURE * (laplacian / mean[:, None, None] + 0.1 * np.eye(p))
    hessian = np.broadcast_to(CURVATURE * np.eye(3 * p + 6), (c, 3 * p + 6, 3 * p + 6)).copy()
    for k in range(3):
        hessian[:, k : 3 * p : 3, k : 3 * p : 3] = laplacian
    return hessian


OURS: dict[str, tuple[type, type]] = {
    "trust-region BFGS (ours)": (Descent, Batch),
    "the same, first Hessian of springs": (Descent, SpringBatch),
    "dense BFGS, capped steps": (CappedBfgs, Batch),
    "L-BFGS": (Lbfgs, Batch),
    "FIRE": (Fire, Batch),
}
PEERS: dict[str, tuple[Any, dict[str, Any], bool]] = {  # class, options, strain scaled by sqrt(N)
    "ASE LBFGS, alpha 10, sqrt(N)": (LBFGS, {"alpha": 10.0}, True),
    "ASE LBFGS": (LBFGS, {}, False),
    "ASE BFGS": (BFGS, {}, False),
    "ASE FIRE": (FIRE, {}, False),
    "ASE PreconLBFGS, Exp": (PreconLBFGS, {"precon": Exp(A=3)}, False),
}


@contextmanager
def in_place(descent: type, batch: type) -> Iterator[None]:
    """Relaxations with these in the place of ours."""
    vars(batch_module)["Descent"], vars(stream_module)["Batch"] = descent, batch
    try:
        yield
    finally:
        vars(batch_module)["Descent"], vars(stream_module)["Batch"] = Descent, Batch


def timed(potential: Potential, starts: Structures) -> tuple[Relaxed, float, float]:
    """The crystals, CPU seconds of all, CPU seconds of the evaluations."""
    inside = 0.0

    def evaluate(structures: Structures) -> Prediction:
        nonlocal inside
        begun = time.process_time()
        prediction = potential.evaluate(structures)
        inside += time.process_time() - begun
        return prediction

    start = time.process_time()
    relaxed = relax(evaluate, starts, fmax=FMAX, smax=SMAX, max_calls=MOST)
    return relaxed, time.process_time() - start, inside


def one_by_one(potential: Potential, crystals: list[Atoms], peer: str) -> tuple[list[int], list[float], float]:
    """Calls and final energies per atom (NaN where `MOST` calls did not suffice), CPU seconds."""
    optimiser, options, scaled = PEERS[peer]
    calls, energies, start = [], [], time.process_time()
    for crystal in crystals:
        atoms = crystal.copy()
        atoms.calc = StratifiedCalculator(potential)
        factor = {"exp_cell_factor": len(atoms) ** 0.5} if scaled else {}
        run = optimiser(FrechetCellFilter(atoms, **factor), logfile=None, **options)
        count = 0
        for count, _ in enumerate(run.irun(fmax=1e-9, steps=MOST), start=1):  # noqa: B007
            force = np.linalg.norm(atoms.get_forces(), axis=1).max()
            if force < FMAX and np.abs(atoms.get_stress()).max() < SMAX:
                energies.append(atoms.get_potential_energy() / len(atoms))
                break
        else:
            energies.append(np.nan)
        calls.append(count)
    return calls, energies, time.process_time() - start


def compare(energies: Floats, against: Floats) -> dict[str, float]:
    """meV/atom and counts over the crystals that both relaxed."""
    both = np.isfinite(energies) & np.isfinite(against)
    d = (energies - against)[both]
    return {
        "pairs": int(both.sum()),
        "mean": 1e3 * float(d.mean()),
        "error": 1e3 * float(d.std(ddof=1) / len(d) ** 0.5),
        "lower": int((d < -ALIKE).sum()),
        "alike": int((np.abs(d) <= ALIKE).sum()),
        "higher": int((d > ALIKE).sum()),
    }


def per_atom(relaxed: Relaxed) -> Floats:
    """eV/atom; NaN where a crystal did not converge."""
    sound = np.array([o == "converged" for o in relaxed.outcomes])
    return np.where(sound, relaxed.prediction.energies / relaxed.structures.sizes, np.nan)


def methods(potential: Potential, crystals: list[Atoms], n_peers: int) -> dict[str, Any]:
    starts, found, lowest = Structures.from_ase(crystals), {}, {}
    for name, (descent, batch) in OURS.items():
        with in_place(descent, batch):
            relaxed, seconds, inside = timed(potential, starts)
        lowest[name] = per_atom(relaxed)
        found[name] = {
            **spread(relaxed.calls),
            "ms": 1e3 * seconds / len(crystals),
            "own": 1 - inside / seconds,
            "outcomes": dict(Counter(relaxed.outcomes)),
        }
    for name in PEERS:
        calls, energies, seconds = one_by_one(potential, crystals[:n_peers], name)
        lowest[name] = np.array(energies)
        outcomes = dict(Counter("converged" if np.isfinite(e) else "step limit" for e in energies))
        found[name] = {**spread(np.array(calls)), "ms": 1e3 * seconds / n_peers, "outcomes": outcomes}
    for name, energies in lowest.items():
        found[name]["against L-BFGS"] = compare(energies, lowest["L-BFGS"][: len(energies)])
    return found


def spread(calls: np.ndarray) -> dict[str, float]:
    return {"median": float(np.median(calls)), "mean": float(np.mean(calls)), "90 %": float(np.quantile(calls, 0.9))}


def followed(potential: Potential, crystals: list[Atoms]) -> dict[str, Any]:
    """Relaxation by the mean, by one member, by one member and then by the mean; the mean says what was reached."""
    assert isinstance(potential.model, Model)
    starts = Structures.from_ase(crystals)
    single = replace(potential, model=potential.model.member(0))
    mean, seconds, _ = timed(potential, starts)
    one, seconds_one, _ = timed(single, starts)
    then, seconds_then, _ = timed(potential, one.structures)
    reference = per_atom(mean)
    at_one = potential.evaluate(one.structures)
    sound = np.isfinite(per_atom(one))
    energies = np.where(sound, at_one.energies / starts.sizes, np.nan)
    force = np.array([np.linalg.norm(f, axis=1).max() for f in np.split(at_one.forces, starts.offsets[1:-1])])
    return {
        "mean of all": {"ms": 1e3 * seconds / len(crystals), "calls": float(mean.calls.mean())},
        "one member": {
            "ms": 1e3 * seconds_one / len(crystals),
            "calls": float(one.calls.mean()),
            "force of the mean left": float(np.median(force[sound])),
            "energy of the mean": compare(energies, reference),
        },
        "one member, then the mean": {
            "ms": 1e3 * (seconds_one + seconds_then) / len(crystals),
            "calls": float((one.calls + then.calls).mean()),
            "energy of the mean": compare(per_atom(then), reference),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=256)
    parser.add_argument("--peers", type=int, default=24, help="cells that ASE's optimisers relax")
    parser.add_argument("--train", type=int, default=TRAIN)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "optimisers.json")
    chosen = parser.parse_args()
    potential = next(p for name, p in quoted(chosen.train).items() if name.startswith("campaign, committee"))
    crystals = random_cells(chosen.cells)
    found = methods(potential, crystals, chosen.peers)
    print(f"{'':36} median  mean  90 %    ms   own   against L-BFGS, meV/atom: mean, lower/alike/higher")
    for name, r in found.items():
        d = r["against L-BFGS"]
        own = f"{r['own']:5.0%}" if "own" in r else "     "
        print(
            f"{name:36} {r['median']:6.1f} {r['mean']:5.1f} {r['90 %']:5.0f} {r['ms']:7.2f} {own}  "
            f"{d['mean']:+.1f} +- {d['error']:.1f}, {d['lower']}/{d['alike']}/{d['higher']}  {r['outcomes']}"
        )
    members = followed(potential, crystals)
    for name, r in members.items():
        print(f"{name:36} {r}")
    save(chosen.output, {**here(), "cells": chosen.cells, "optimisers": found, "followed": members})


if __name__ == "__main__":
    main()
