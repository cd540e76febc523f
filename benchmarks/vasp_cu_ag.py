"""Cross-validation on 424 VASP-PBE structures of Cu-Ag: 113 dimers, 250 two-atom cells, 61 volumes of CuAg3.

    python benchmarks/vasp_cu_ag.py -o benchmarks/vasp_cu_ag.json [--quick]

Ten folds; the 61 points of the equation of state are one of them. Every network, Cu and Ag included, is fitted to the binary
data of the other nine folds: both elements' blocks and the pair's together, from scratch, a committee of four. Prints errors
over the structures in the lowest 90 % of energies per atom, and writes them to JSON, one fold after another: a run that was
cut goes on. --export writes every fold as extxyz for `pypolymlp_peer.py`.

A two-atom cell has the same vectors between its Cu as between its Ag, so 1:1 cells and dimers fix only sums over the two
elements. The energy of CuAg3 is therefore not determined by the other nine folds, whatever the model: its fold shows what
the prior says, and is also reported apart. --elements adds crystals of pure Cu and pure Ag with labels of the same method to
every fold's training, as a library has them below the pair. Make them with --bare-elements FILE and label them, for instance
with the published networks `potentials import-maise` reads (nn_Cu_d3_vp, nn_Ag_d3_vp: the same VASP set-up) and
`potentials evaluate`.

The settings stand below, the same for every fold. They were chosen on another division into folds (--division 7), but for
`decay` and `pull`, which were set on the equation of state itself: its figure is no prediction of what a new composition
would show. Structures relabelled by UNEP-v1 ask for stronger ones (8 and 1000).
The data: MAISE (Hajinazar et al., Comput. Phys. Commun. 259, 107679 (2021)), ../shared/maise/cuag_vasp_pbe.json.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: the fits are of one core

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write
from ase.neighborlist import neighbor_list
from scipy.linalg.blas import ssyrk

from potentials import kernels
from potentials.dataset import Dataset, read_dataset, write_dataset
from potentials.environments import deviations
from potentials.levenberg import minimise
from potentials.network import Model, Shape
from potentials.structures import Floats, Structures
from potentials.units import EV_PER_A3_PER_GPA

DATA = Path(__file__).resolve().parents[2] / "shared" / "maise" / "cuag_vasp_pbe.json"
CU, AG = 29, 47
ELEMENTS = (CU, AG)
FOLDS, LOW, WORST = 10, 0.90, 0.05  # folds; share of the energies that count; share left out of the trimmed errors
VACUUM = 1000.0  # Å³ per atom; a larger cell holds a cluster. Its stress is an artefact: 0.2 to 0.4 eV times 1/volume
HERE = Path(__file__).resolve().parent
STRAIN = np.array([0, 4, 8, 5, 2, 1])  # xx, yy, zz, yz, xz, xy among the nine row-major strain columns
SPREAD = (0.5, 0.3, 0.3)  # of the first pre-activations, biases, outputs (eV)
FREE = 1e-6  # decay of e relative to the other parameters


@dataclass(frozen=True)
class Settings:
    """All that a fit depends on. Residuals are divided by their unit and multiplied by 1/(1 + (x/x0)²) as in `recipe.Fitting`."""

    cutoff: float = 6.0  # Å
    n_max: int = 5
    l_max: int = 4
    n_pair: int = 8
    hidden: int = 6
    members: int = 4
    iterations: int = 40
    energy: float = 0.002  # eV/atom
    force: float = 0.06  # eV/Å
    virial: float = (
        0.06  # eV/atom: the stresses contradict the energies by about 0.025 (plane waves of a fixed cut-off)
    )
    high_energy: float = 1.5  # eV/atom, x0
    high_force: float = 5.0  # eV/Å, x0
    decay: float = 0.5  # times the sum of squared parameters
    pull: float = 100.0  # decay of the pair's columns relative to the others; see Joint
    elements: float = 0.1  # weight of a crystal of one element
    least: float = 1e-5  # of the largest eigenvalue: directions of the inputs that are kept
    seed: int = 0

    @property
    def shape(self) -> Shape:
        return Shape(self.cutoff, self.n_max, self.l_max, self.n_pair)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "vasp_cu_ag.json")
    parser.add_argument("--quick", action="store_true", help="two folds: the first, and the equation of state")
    parser.add_argument(
        "--elements", type=Path, metavar="FILE", help="labelled crystals of Cu and of Ag for every training"
    )
    parser.add_argument(
        "--bare-elements", type=Path, metavar="FILE", help="write such crystals, unlabelled, and train nothing"
    )
    parser.add_argument("--division", type=int, default=0, help="another division into folds")
    parser.add_argument("--export", type=Path, metavar="DIRECTORY", help="write the folds as extxyz and train nothing")
    asked = parser.parse_args()
    if not DATA.is_file():
        print(f"the data are not here: {DATA}", file=sys.stderr)
        return 74
    dataset = load(DATA)
    fold = division(dataset, asked.division)
    if asked.export:
        export(dataset, fold, asked.export)
        return 0
    if asked.bare_elements:
        write(asked.bare_elements, elements(), format="extxyz")
        return 0
    settings, below = Settings(), None
    if asked.elements:
        below = read_dataset(asked.elements)
        below = replace(below, weights=np.full(len(below), settings.elements))
    record = _known(asked.output, settings, asked.division, asked.elements)
    for k in [0, FOLDS - 1] if asked.quick else range(FOLDS):
        if str(k) not in record["folds"]:
            record["folds"][str(k)] = one_fold(dataset, fold == k, below, settings)
            record["summary"] = summary(dataset, record["folds"])
            _write(asked.output, record)
        print(f"fold {k}: " + _line(record["folds"][str(k)]), flush=True)
    for name, figures in record["summary"].items():
        print(f"{name}: {_figures(figures)}")
    return 0


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
        method="vasp-pbe",
        families=[s["path"] for s in found],
    )


def is_equation_of_state(dataset: Dataset) -> np.ndarray:
    return dataset.structures.sizes == 4


def division(dataset: Dataset, seed: int) -> np.ndarray:
    """(n,) the fold of every structure; the equation of state is the last."""
    fold = np.full(len(dataset), FOLDS - 1)
    rest = np.flatnonzero(~is_equation_of_state(dataset))
    fold[np.random.default_rng([1234, seed]).permutation(rest)] = np.arange(len(rest)) % (FOLDS - 1)
    return fold


def export(dataset: Dataset, fold: np.ndarray, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for k in range(FOLDS):
        for kind, chosen in (("train", fold != k), ("test", fold == k)):
            write_dataset(directory / f"fold{k}.{kind}.extxyz", dataset.select(np.flatnonzero(chosen)))


def elements() -> list[Atoms]:
    """125 crystals of each element: five lattices at many volumes, and one-atom cells under large strains."""
    made = []
    for symbol, constant in (("Cu", 3.633), ("Ag", 4.161)):  # Å, fcc
        rng, nearest = np.random.default_rng(5), constant / np.sqrt(2)
        for crystal, factor in (
            ("fcc", 2**0.5),
            ("bcc", 2 / 3**0.5),
            ("sc", 1.0),
            ("hcp", 1.0),
            ("diamond", 4 / 3**0.5),
        ):
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


def one_fold(dataset: Dataset, test: np.ndarray, below: Dataset | None, settings: Settings) -> dict[str, Any]:
    """Errors, spreads and grades of the test structures, from networks fitted to the others."""
    wall, cpu = time.perf_counter(), time.process_time()
    known, asked = dataset.select(np.flatnonzero(~test)), dataset.select(np.flatnonzero(test))
    if below is not None:
        known = known.merge(below)
    problem = Joint(known, settings)
    members = [problem.fit(m) for m in range(settings.members)]
    predicted = kernels.evaluate(asked.structures, problem.model(members))
    edge = np.quantile(problem.leverages(known.structures, own=True), 1 - WORST)
    return {
        "structures": np.flatnonzero(test).tolist(),
        "energy_errors": ((predicted.energies - asked.labels.energies) / asked.structures.sizes).tolist(),
        "force_errors": [
            f.ravel().tolist() for f in _per_crystal(asked.structures, predicted.forces - asked.labels.forces)
        ],
        "spreads": (predicted.spreads / asked.structures.sizes).tolist(),
        "grades": (problem.leverages(asked.structures, own=False) / edge).tolist(),
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
    }


@dataclass(eq=False)
class Group:
    """Crystals of one composition: m crystals, n centres of each element, q derivatives (3 N positions, six strains)."""

    size: int  # N atoms
    inputs: dict[int, Floats]  # (m, n, D) by element
    slopes: dict[int, Floats]  # (m, n, q, D)
    targets: Floats  # (m, 1 + q) eV and its derivatives
    weights: Floats  # (m, 1 + q) 1/unit; 0 where there is no label


class Joint:
    """The least-squares problem of one member: all blocks of all elements at once.

    The scaled inputs of each element are rotated to the principal axes of their weighted rows, which leaves an equal decay
    as it is, and directions below `least` are dropped: 196 inputs become about 55, at the same errors.
    Parameters, by element: W (hidden, D), b (hidden), v (hidden), e.

    The columns of an element's own block act on the density of all neighbours, whatever their element: T_X + T_Y and
    P^XX + 2 P^XY + P^YY; those of the pair on the features themselves, with a decay `pull` times as strong. So what the data
    leave open stays where it would be if the elements did not differ (`start.prior`, moving with the element).
    """

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self.settings, self.axes, self.shift, self.scale = settings, {}, {}, {}
        self._spread: dict[int, Floats] = {}
        groups = _groups(dataset, settings)
        for z in ELEMENTS:
            features = np.concatenate([g.inputs[z].reshape(-1, g.inputs[z].shape[-1]) for g in groups])
            self.shift[z], self.scale[z] = _scaling(features, settings, z)
            gram = sum(_gram(g, z, self.shift[z], self.scale[z]) for g in groups)
            size, axes = np.linalg.eigh(gram)
            self.axes[z] = axes[:, size > settings.least * size.max()]
            rotated = self._rotated(features, z)
            bordered = np.column_stack([rotated, np.ones(len(rotated))])
            matrix = bordered.T @ bordered
            self._spread[z] = np.linalg.inv(matrix + settings.least * np.diag(matrix).max() * np.eye(len(matrix)))
        for g in groups:
            g.inputs = {z: self._rotated(x, z) for z, x in g.inputs.items()}
            g.slopes = {z: (x * self.scale[z]) @ self.axes[z] for z, x in g.slopes.items()}
        self.groups = groups
        self._sizes = {z: self.axes[z].shape[1] for z in ELEMENTS}
        ends = np.cumsum([settings.hidden * (self._sizes[z] + 2) + 1 for z in ELEMENTS]).tolist()
        self._starts = dict(zip(ELEMENTS, [0, *ends[:-1]], strict=True))
        self.n_parameters = ends[-1]

    def fit(self, member: int) -> Floats:
        start, decay = self._start(member), np.full(self.n_parameters, self.settings.decay)
        for z in ELEMENTS:
            decay[self._starts[z] + self.settings.hidden * (self._sizes[z] + 2)] *= FREE
        return minimise(self, start, np.zeros(self.n_parameters), decay, self.settings.iterations).parameters

    def residuals(self, p: Floats) -> Floats:
        return np.concatenate([((self._predict(p, g) - g.targets) * g.weights).ravel() for g in self.groups])

    def normal(self, p: Floats) -> tuple[Floats, Floats]:
        """J^T J (lower triangle) and J^T r."""
        n = self.n_parameters
        matrix, gradient = np.zeros((n, n), np.float32, order="F"), np.zeros(n)
        for g in self.groups:
            rows = (self._jacobian(p, g) * g.weights[:, :, None].astype(np.float32)).reshape(-1, n)
            residuals = ((self._predict(p, g) - g.targets) * g.weights).ravel()
            matrix = ssyrk(1.0, rows.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)
            gradient += rows.T @ residuals.astype(np.float32)
        return matrix.astype(float), gradient

    def model(self, members: list[Floats]) -> Model:
        """The committee in terms of unscaled features."""
        n, hidden = len(ELEMENTS), self.settings.hidden
        lanes = len(members) * hidden
        weights = np.zeros((n, self.settings.shape.n_features(n), lanes))
        biases, outputs, shifts = np.zeros((n, lanes)), np.zeros((n, lanes)), np.zeros((n, len(members)))
        for k, z in enumerate(ELEMENTS):
            for m, p in enumerate(members):
                w, b, v, e = self._parts(p, z)
                part = slice(m * hidden, (m + 1) * hidden)
                columns = self.scale[z][:, None] * (self.axes[z] @ w.T)
                weights[k, :, part] = _mixing(self.settings.shape).T @ columns
                biases[k, part] = b - self.shift[z] @ columns
                outputs[k, part], shifts[k, m] = v, e
        shape = self.settings.shape
        return Model(shape, ELEMENTS, len(members), hidden, weights, biases, outputs, shifts, repulsion=False)

    def leverages(self, structures: Structures, *, own: bool) -> Floats:
        """(n,) of the worst atom of each crystal: x^T (X^T X)^-1 x over all training centres X of its element.

        own: the structures are the training set, and each centre is seen from the others: h/(1 - h).
        """
        result = np.zeros(len(structures.numbers))
        features = np.concatenate(kernels.features(structures, self.settings.shape, ELEMENTS))
        for z in ELEMENTS:
            x = self._rotated(features[structures.numbers == z] @ _mixing(self.settings.shape).T, z)
            x = np.column_stack([x, np.ones(len(x))])
            h = np.einsum("nd,de,ne->n", x, self._spread[z], x)
            result[structures.numbers == z] = h / np.maximum(1 - h, 1e-9) if own else h
        return np.maximum.reduceat(result, structures.offsets[:-1])

    def _rotated(self, features: Floats, z: int) -> Floats:
        return np.asarray(((features - self.shift[z]) * self.scale[z]) @ self.axes[z])

    def _start(self, member: int) -> Floats:
        rng, hidden = np.random.default_rng([self.settings.seed, member]), self.settings.hidden
        targets = np.concatenate([g.targets[:, 0] / g.size for g in self.groups])
        weights = np.concatenate([(g.weights[:, 0] * g.size) ** 2 for g in self.groups])
        parts = []
        for z in ELEMENTS:
            length = np.linalg.norm(_smoothness(self.settings.shape, z))
            w = rng.normal(scale=SPREAD[0] / length, size=(hidden, len(self.scale[z]))) @ self.axes[z]
            rest = [rng.normal(scale=SPREAD[1], size=hidden), rng.normal(scale=SPREAD[2], size=hidden)]
            parts += [w.ravel(), *rest, [np.average(targets, weights=weights)]]
        return np.concatenate(parts)

    def _parts(self, p: Floats, z: int) -> tuple[Floats, Floats, Floats, float]:
        hidden, d, k = self.settings.hidden, self._sizes[z], self._starts[z]
        w, rest = p[k : k + hidden * d].reshape(hidden, d), p[k + hidden * d :]
        return w, rest[:hidden], rest[hidden : 2 * hidden], float(rest[2 * hidden])

    def _predict(self, p: Floats, g: Group) -> Floats:
        total = np.zeros_like(g.targets)
        for z in ELEMENTS:
            w, b, v, e = self._parts(p, z)
            t = np.tanh(g.inputs[z] @ w.T + b)
            total[:, 0] += (t @ v).sum(axis=1) + e * t.shape[1]
            total[:, 1:] += (g.slopes[z] @ ((v * (1 - t * t)) @ w)[..., None])[..., 0].sum(axis=1)
        return total

    def _jacobian(self, p: Floats, g: Group) -> np.ndarray:
        """(m, 1 + q, parameters), single precision; see `potentials.fit` for the formulas."""
        hidden, (m, rows) = self.settings.hidden, g.targets.shape
        out = np.zeros((m, rows, self.n_parameters), np.float32)
        for z in ELEMENTS:
            w, b, v, _ = self._parts(p, z)
            k, d = self._starts[z], self._sizes[z]
            block, rest = np.zeros((m, rows, hidden, d), np.float32), out[:, :, k + hidden * d :]
            for a in range(g.inputs[z].shape[1]):
                f, s = g.inputs[z][:, a], g.slopes[z][:, a]
                t, slopes = np.tanh(f @ w.T + b), s @ w.T  # (m, hidden), (m, q, hidden)
                t1 = 1 - t * t
                first, bent = (v * t1).astype(np.float32), ((-2 * v * t * t1)[:, None] * slopes).astype(np.float32)
                f, s = f.astype(np.float32), s.astype(np.float32)
                block[:, 0] += first[:, :, None] * f[:, None]
                block[:, 1:] += bent[..., None] * f[:, None, None] + first[:, None, :, None] * s[:, :, None]
                rest[:, 0, :hidden] += first
                rest[:, 1:, :hidden] += bent
                rest[:, 0, hidden : 2 * hidden] += t
                rest[:, 1:, hidden : 2 * hidden] += t1[:, None] * slopes
                rest[:, 0, 2 * hidden] += 1
            out[:, :, k : k + hidden * d] = block.reshape(m, rows, hidden * d)
        return out


def _smoothness(shape: Shape, z: int) -> Floats:
    return np.concatenate([shape.smoothness(block) for block in shape.blocks(z, ELEMENTS)])


def _mixing(shape: Shape) -> Floats:
    """(D, D) that takes the features of a centre to those of the class Joint."""
    n, matrix = shape.n_products, np.eye(shape.n_features(2))
    own, other = shape.block_size(1), shape.block_size(1) + shape.n_pair
    matrix[: shape.n_pair, own:other] = np.eye(shape.n_pair)
    matrix[shape.n_pair : own, other : other + n] = 2 * np.eye(n)
    matrix[shape.n_pair : own, other + n :] = np.eye(n)
    return matrix


def _scaling(features: Floats, settings: Settings, z: int) -> tuple[Floats, Floats]:
    """Shift and scale (D,): the first block by mean and deviation, the pair's by deviation alone."""
    shape = settings.shape
    shift = features.mean(axis=0)
    shift[shape.block_size(1) :] = 0.0
    spread = [deviations(features[:, b.start : b.stop]) for b in shape.blocks(z, ELEMENTS)]
    scale = _smoothness(shape, z) / np.concatenate(spread)
    scale[shape.block_size(1) :] /= np.sqrt(settings.pull)
    return shift, scale


def _gram(g: Group, z: int, shift: Floats, scale: Floats) -> Floats:
    """(D, D) of the weighted rows of inputs and slopes."""
    f = (g.inputs[z] - shift) * scale * g.weights[:, None, :1]
    s = g.slopes[z] * scale * g.weights[:, None, 1:, None]
    f, s = f.reshape(-1, len(scale)), s.reshape(-1, len(scale))
    return np.asarray(f.T @ f + s.T @ s)


def _groups(dataset: Dataset, settings: Settings) -> list[Group]:
    structures, labels = dataset.structures, dataset.labels
    per_atom, strata = labels.energies / structures.sizes, dataset.strata()
    lowest = {s: min(e for e, t in zip(per_atom, strata, strict=True) if t == s) for s in set(strata)}
    mixing = _mixing(settings.shape)
    tables = kernels.jacobians(structures, settings.shape, ELEMENTS)
    by_composition: dict[tuple[int, ...], list[int]] = {}
    for c, (a, b) in enumerate(pairwise(structures.offsets.tolist())):
        composition = tuple(int((structures.numbers[a:b] == z).sum()) for z in ELEMENTS)
        by_composition.setdefault(composition, []).append(c)
    groups = []
    for composition, crystals in by_composition.items():
        n = sum(composition)
        inputs: dict[int, list[Floats]] = {z: [] for z in ELEMENTS}
        slopes: dict[int, list[Floats]] = {z: [] for z in ELEMENTS}
        targets, weights = [], []
        for c in crystals:
            atoms = slice(structures.offsets[c], structures.offsets[c + 1])
            table, derivatives = tables[c][0] @ mixing.T, mixing @ tables[c][1]
            derivatives = derivatives[:, :, [*range(3 * n), *(3 * n + STRAIN)]].transpose(0, 2, 1)
            for z in ELEMENTS:
                inputs[z].append(table[structures.numbers[atoms] == z])
                slopes[z].append(derivatives[structures.numbers[atoms] == z])
            virial = (labels.stresses[c] * structures.volumes[c]).ravel()[STRAIN]
            targets.append(np.concatenate([[labels.energies[c]], -labels.forces[atoms].ravel(), virial]))
            calm = 1 / (1 + ((per_atom[c] - lowest[strata[c]]) / settings.high_energy) ** 2)
            gentle = 1 / (1 + (labels.forces[atoms] ** 2).sum(axis=1) / settings.high_force**2)
            units = [calm / (settings.energy * n), *np.repeat(gentle, 3) / settings.force]
            units = np.concatenate([units, np.full(6, calm / (settings.virial * n))])
            weights.append(units * np.sqrt(dataset.weights[c]))
        known = np.isfinite(targets)
        groups.append(
            Group(
                n,
                {z: np.array(x) for z, x in inputs.items()},
                {z: np.array(x) for z, x in slopes.items()},
                np.where(known, targets, 0.0),
                np.where(known, weights, 0.0),
            )
        )
    return groups


def summary(dataset: Dataset, folds: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Figures over the structures of the lowest energies: of all folds, without the equation of state, of it alone."""
    per_atom = dataset.labels.energies / dataset.structures.sizes
    low = per_atom <= np.sort(per_atom)[int(LOW * len(dataset)) - 1]
    special = is_equation_of_state(dataset)
    result = {}
    for name, mask in (("all", low), ("without EOS", low & ~special), ("EOS", low & special)):
        rows = [(f, k) for f in folds.values() for k, c in enumerate(f["structures"]) if mask[c]]
        if rows:
            result[name] = _figures_of(rows)
    used = list(folds.values())
    for figures in result.values():
        figures["cpu_s"], figures["wall_s"] = sum(f["cpu_s"] for f in used), sum(f["wall_s"] for f in used)
    return result


def _figures_of(rows: list[tuple[dict[str, Any], int]]) -> dict[str, float]:
    """Errors in meV/atom and meV/Å; which of the worst 5 % of the energies are flagged, and how many of all."""
    energies = 1e3 * np.abs([f["energy_errors"][k] for f, k in rows])
    forces = [1e3 * np.abs(f["force_errors"][k]) for f, k in rows]
    worst_forces = np.array([np.sqrt(np.mean(f**2)) for f in forces])
    grades = np.array([f["grades"][k] for f, k in rows])
    spreads = np.array([f["spreads"][k] for f, k in rows])
    n_worst = max(1, round(WORST * len(rows)))
    calm, gentle = np.argsort(energies)[:-n_worst], np.argsort(worst_forces)[:-n_worst]
    worst = np.argsort(energies)[-n_worst:]
    return {
        "n": len(rows),
        "energy_rmse": _rms(energies),
        "energy_trimmed": _rms(energies[calm]),
        "energy_median": float(np.median(energies)),
        "force_rmse": _rms(np.concatenate(forces)),
        "force_trimmed": _rms(np.concatenate([forces[c] for c in gentle])),
        "force_median": float(np.median(np.concatenate(forces))),
        "n_worst": n_worst,
        "n_worst_flagged": int((grades[worst] > 1).sum()),
        "n_flagged": int((grades > 1).sum()),
        "n_worst_in_top_fifth_of_grades": len(set(worst) & set(np.argsort(grades)[-round(0.2 * len(rows)) :])),
        "n_worst_in_top_fifth_of_spreads": len(set(worst) & set(np.argsort(spreads)[-round(0.2 * len(rows)) :])),
    }


def _figures(f: dict[str, float]) -> str:
    return (
        f"{f['n']} structures, {f['energy_rmse']:.1f} meV/atom {f['force_rmse']:.0f} meV/Å | without the worst 5 % "
        f"{f['energy_trimmed']:.2f} {f['force_trimmed']:.1f} | median {f['energy_median']:.2f} {f['force_median']:.1f} | "
        f"{f['n_worst_flagged']} of the {f['n_worst']} worst flagged, {f['n_flagged']} of all | "
        f"CPU {f['cpu_s']:.0f} s, wall {f['wall_s']:.0f} s"
    )


def _line(f: dict[str, Any]) -> str:
    forces = np.concatenate(f["force_errors"])
    return f"{1e3 * _rms(f['energy_errors']):.1f} meV/atom {1e3 * _rms(forces):.0f} meV/Å (all energies), CPU {f['cpu_s']:.0f} s"


def _rms(x: Any) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) if len(x) else float("nan")


def _per_crystal(structures: Structures, values: Floats) -> list[Floats]:
    return [values[a:b] for a, b in pairwise(structures.offsets.tolist())]


def _known(path: Path, settings: Settings, seed: int, elements: Path | None) -> dict[str, Any]:
    """What an earlier run with these settings left; empty when it had others."""
    data = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (DATA, elements) if p is not None]
    asked = {"settings": asdict(settings), "division": seed, "data": data}
    if path.is_file():
        record: dict[str, Any] = json.loads(path.read_text())
        if {k: record.get(k) for k in asked} == asked:
            return record
    return {**asked, "machine": _machine(), "commit": _commit(), "folds": {}, "summary": {}}


def _write(path: Path, record: dict[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(record) + "\n")
    os.replace(temporary, path)


def _machine() -> str:
    model = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), "")
    return f"{model.partition(':')[2].strip() or platform.processor()}, {os.cpu_count()} cores, {platform.system()}"


def _commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
