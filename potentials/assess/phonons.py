"""Phonons of relaxed prototypes by finite displacements; the only place that knows phonopy.

Each side at its own equilibrium, both with the same supercell, displacements, q points and mesh. Frequencies are in THz
(not angular), imaginary ones negative.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from potentials.assess.prototypes import Crystal
from potentials.assess.results import NONE, Curve, Deviation, Measured, Value
from potentials.assess.side import Side
from potentials.assess.vacancy import TO_CUBE
from potentials.structures import Floats, Structures

PATH_POINTS = 120
SOFT = 0.1  # of the highest frequency: below, a relative difference means little
IMAGINARY = -0.05  # THz: what is lower is no rounding


def available() -> bool:
    """Whether phonopy is installed."""
    return find_spec("phonopy") is not None


@dataclass(frozen=True, eq=False)
class Phonons:
    """Frequencies in THz of a crystal with m modes, ascending at every q."""

    points: Mapping[str, Floats]  # (m,) by name of the point
    mesh: Floats  # (q, m)
    weights: Floats  # (q,) that add up to one
    path: Floats  # (p,) 1/Å with 2 pi, length along the path
    bands: Floats  # (p, m)
    ticks: Mapping[str, float]  # 1/Å with 2 pi, where the named points lie on the path


def supercell_matrix(crystal: Crystal, length: float, repeat: int = 0) -> NDArray[np.int_]:
    """(3, 3) cubic supercells of fcc and bcc, multiples of the primitive vectors for the rest, from `length` Å on.

    By the guessed volume of the crystal, so that it is the same for both sides. `repeat`: that multiple of the primitive vectors
    for all; 2 has X and L of fcc in eight atoms, where 2 cubes have 32.
    """
    if repeat:
        return np.eye(3, dtype=int) * repeat
    atoms = crystal.guess()
    centred = np.array(TO_CUBE.get(crystal.prototype.name, np.eye(3)))
    lengths = np.linalg.norm(centred @ atoms.cell[:], axis=1)
    times = np.ceil(length / lengths - 1e-9).astype(int)
    return np.asarray(np.diag(times) @ centred.astype(int), dtype=int)


def phonons(side: Side, crystal: Crystal) -> Phonons | None:
    """Of the relaxed prototype; None where it could not be relaxed or a force is missing."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    start, s = side.relaxed(crystal), side.settings
    if not start.converged:
        return None
    atoms = start.atoms
    cell = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell[:], scaled_positions=atoms.get_scaled_positions())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own defaults
        lattice = Phonopy(cell, supercell_matrix(crystal, s.supercell, s.repeat), primitive_matrix=np.eye(3))
        lattice.generate_displacements(distance=s.displacement)
        moved = [
            Atoms(c.numbers, scaled_positions=c.scaled_positions, cell=c.cell, pbc=True)
            for c in lattice.supercells_with_displacements
        ]
        said = side.ask(Structures.from_ase(moved))
        if not np.isfinite(said.forces).all():
            return None
        lattice.produce_force_constants(forces=said.forces.reshape(len(moved), -1, 3), show_drift=False)
        lattice.symmetrize_force_constants()
        # the same points whatever symmetry is left; an even mesh leaves out the origin, where frequencies are zero
        lattice.run_mesh([s.mesh] * 3, is_mesh_symmetry=False)
        mesh = lattice.get_mesh_dict()
        ideal = crystal.build(1.0).cell  # the path must not depend on how c/a came out
        path = ideal.bandpath(npoints=PATH_POINTS)
        distances, positions, labels = path.get_linear_kpoint_axis()
        lattice.run_qpoints(path.kpts)
        bands = np.array(lattice.get_qpoints_dict()["frequencies"])
        names = [n for n in path.special_points if n in path.path]
        lattice.run_qpoints([path.special_points[n] for n in names])
        at = np.array(lattice.get_qpoints_dict()["frequencies"])
    weights = np.array(mesh["weights"], dtype=float)
    length = (ideal.volume / atoms.cell.volume) ** (1 / 3)
    ticks = {name: length * place for name, place in _named(positions, labels).items()}
    return Phonons(
        points=dict(zip(names, at, strict=True)),
        mesh=np.array(mesh["frequencies"]),
        weights=weights / weights.sum(),
        path=np.asarray(distances) * length,
        bands=bands,
        ticks=ticks,
    )


def measure(side: Side, crystals: Sequence[Crystal]) -> tuple[Measured, dict[str, Phonons]]:
    """Every mode at the high-symmetry points in THz, the bands, and the phonons themselves for `deviations`."""
    values, curves, known = [], [], {}
    for crystal in crystals:
        found, name = phonons(side, crystal), crystal.name
        note = side.trouble(crystal)
        if found is None:
            values.append(Value(name, "lowest", "THz", NONE, note or "a displaced supercell has no finite forces"))
            continue
        known[name] = found
        lowest = float(min(found.mesh.min(), found.bands.min()))
        if lowest < IMAGINARY:
            note = ", ".join(n for n in (note, "dynamically unstable") if n)
        values.append(Value(name, "lowest", "THz", lowest, note))
        values.append(Value(name, "highest", "THz", float(found.mesh.max()), note))
        for point, modes in found.points.items():
            first = 3 if point == "G" else 0  # the acoustic modes at the origin are zero
            values += [Value(name, f"{point} {k + 1}", "THz", float(f)) for k, f in enumerate(modes) if k >= first]
        ticks = dict(found.ticks)
        curves.append(Curve(name, found.path.tolist(), found.bands.T.tolist(), "q", "frequency, THz", ticks))
    return Measured(values, curves), known


def deviations(network: Mapping[str, Phonons], reference: Mapping[str, Phonons]) -> list[Deviation]:
    """Of the frequencies over the mesh, for every crystal that both sides have.

    "RMS" in THz and as a share of the RMS of the reference's frequencies; "RMS of relative differences": of
    (network - reference)/reference over the modes above a tenth of the reference's highest frequency.
    """
    rows = []
    for name, mine in network.items():
        theirs = reference.get(name)
        if theirs is None:
            continue
        apart, firm = mine.mesh - theirs.mesh, theirs.mesh > SOFT * theirs.mesh.max()
        rms = _rms(apart, mine.weights)
        shares = np.broadcast_to(mine.weights[:, None], firm.shape)[firm]
        relative = float(np.sqrt(np.average((apart[firm] / theirs.mesh[firm]) ** 2, weights=shares)))
        rows.append(Deviation("phonons", name, "RMS", "THz", rms))
        rows.append(
            Deviation("phonons", name, "RMS / RMS of reference", "%", 100 * rms / _rms(theirs.mesh, mine.weights))
        )
        rows.append(Deviation("phonons", name, "RMS of relative differences", "%", 100 * relative))
    return rows


def _rms(frequencies: Floats, weights: Floats) -> float:
    return float(np.sqrt(np.sum(weights[:, None] * frequencies**2) / frequencies.shape[1]))


def _named(positions: Sequence[float], labels: Sequence[str]) -> dict[str, float]:
    """Where the points of the path lie; two at one place, where it jumps, share a tick; later ones of a name get primes."""
    ticks: dict[str, float] = {}
    places = [float(x) for x in positions]
    for place in sorted(set(places)):
        name = "|".join(label for x, label in zip(places, labels, strict=True) if x == place).replace("G", "Γ")
        while name in ticks:
            name += "'"
        ticks[name] = place
    return ticks
