"""pypolymlp on the data of the other benchmarks: error and cost of polynomial potentials, one line per test set.

    python -m venv POLY && POLY/bin/pip install pypolymlp==0.22.1 symfc ase          (needs Eigen, CMake, a C++ compiler)
    POLY/bin/python benchmarks/pypolymlp_peer.py DIRECTORY --setting third --joint -o peer.json

DIRECTORY holds NAME.train[...].extxyz and NAME.test[...].extxyz, as `unep_data.py` and `vasp_cu_ag.py --export` write them.
Every NAME is trained on its own training file; with --joint on all training files whose elements are among its own.
Energies, forces and stresses have the weights of the package. The ridge is the one with the lowest energy error on
every eighth family of the training files, which are left out for that choice alone; the test files play no part in it.

Seko, J. Appl. Phys. 133, 011101 (2023), doi:10.1063/5.0129045. This program runs in an environment of its own and imports
nothing of this project.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: costs are of one core

import argparse
import json
import platform
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import read

try:
    import pypolymlp
    from pypolymlp.calculator.properties import Properties
    from pypolymlp.core.data_format import PolymlpStructure
    from pypolymlp.mlp_dev.pypolymlp import Pypolymlp
except ImportError:
    sys.exit("pypolymlp is missing: run this in an environment with `pip install pypolymlp==0.22.1 symfc ase`")

# of increasing cost; names of the package. model 2: polynomial of all invariants, 4: of pair and second-order ones
SETTINGS: dict[str, dict[str, Any]] = {
    "pair": {"feature_type": "pair", "model_type": 2, "n_gaussians": 7},
    "second": {"feature_type": "gtinv", "model_type": 3, "n_gaussians": 7, "gtinv_order": 2, "gtinv_maxl": (4,)},
    "third": {"feature_type": "gtinv", "model_type": 3, "n_gaussians": 7, "gtinv_order": 3, "gtinv_maxl": (4, 4)},
    "third9": {"feature_type": "gtinv", "model_type": 3, "n_gaussians": 9, "gtinv_order": 3, "gtinv_maxl": (4, 4)},
    "fourth9": {"feature_type": "gtinv", "model_type": 3, "n_gaussians": 9, "gtinv_order": 4, "gtinv_maxl": (8, 4, 2)},
    "squared": {"feature_type": "gtinv", "model_type": 4, "n_gaussians": 5, "gtinv_order": 3, "gtinv_maxl": (4, 4)},
}
RIDGES = (-3.0, 1.0, 5)  # log10: first, last, number
HELD_OUT = 8  # one family in this many chooses the ridge
TIMED = 3  # repetitions of a timing, the best counts
BOX = 20.0  # Å beyond a cluster that has no cell


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="of NAME.train*.extxyz and NAME.test*.extxyz")
    parser.add_argument("--setting", default="third", choices=SETTINGS)
    parser.add_argument("--cutoff", type=float, default=6.0, help="Å")
    parser.add_argument("--names", default="", help="test sets, with commas; all when left out")
    parser.add_argument("--joint", action="store_true", help="train on all files of the same and fewer elements")
    parser.add_argument(
        "--pool", type=float, metavar="SHARE", help="one more line: all sets, this share of lowest energies"
    )
    parser.add_argument("-o", "--output", type=Path, help="JSON with the same figures")
    asked = parser.parse_args()
    files = {kind: _files(asked.directory, kind) for kind in ("train", "test")}
    names = asked.names.split(",") if asked.names else list(files["test"])
    if missing := [n for n in names if n not in files["train"] or n not in files["test"]] or (not names and ["NAME"]):
        print(
            f"{asked.directory} needs NAME.train*.extxyz and NAME.test*.extxyz of {', '.join(missing)}", file=sys.stderr
        )
        return 65
    train = {name: read(path, ":") for name, path in files["train"].items()}
    results = {}
    for name in names:
        elements = sorted({s for a in train[name] for s in a.symbols}, key=atomic_numbers.__getitem__)
        chosen = train[name]
        if asked.joint:
            chosen = [a for crystals in train.values() for a in crystals if set(a.symbols) <= set(elements)]
        results[name] = run(elements, chosen, read(files["test"][name], ":"), SETTINGS[asked.setting], asked.cutoff)
        print(f"{name:8s} {asked.setting:8s} {line(results[name])}", flush=True)
    if asked.pool:
        results["pooled"] = pooled(list(results.values()), asked.pool)
        print(f"pooled   {asked.setting:8s} {line(results['pooled'])}")
    if asked.output:
        record = {"setting": asked.setting, "cutoff": asked.cutoff, "joint": asked.joint, "results": results}
        record |= {"pypolymlp": pypolymlp.__version__, "machine": _machine()}
        asked.output.write_text(json.dumps(record) + "\n")
    return 0


def run(
    elements: list[str], train: list[Atoms], test: list[Atoms], setting: dict[str, Any], cutoff: float
) -> dict[str, Any]:
    """Errors over `test` and costs of the potential of these elements trained on `train`; per crystal, too."""
    wall, cpu = time.perf_counter(), time.process_time()
    options = {**setting, "elements": elements, "cutoff": cutoff, "atomic_energy": [0.0] * len(elements)}
    left_out = np.array(
        [zlib.crc32(str(a.info.get("family", n)).encode()) % HELD_OUT == 0 for n, a in enumerate(train)]
    )
    known = [a for a, out in zip(train, left_out, strict=True) if not out]
    unknown = [a for a, out in zip(train, left_out, strict=True) if out]
    trial = _fit(options, elements, known, RIDGES)
    errors = [_energy_error(model, elements, unknown) for model in trial]
    ridge = np.linspace(*RIDGES)[int(np.argmin(errors))]
    (model,) = _fit(options, elements, train, (ridge, ridge, 1))
    seconds = {"training_cpu_s": time.process_time() - cpu, "training_wall_s": time.perf_counter() - wall}
    energies, forces = _predict(model, elements, test)
    per_atom = np.array([(e - a.get_potential_energy()) / len(a) for e, a in zip(energies, test, strict=True)])
    missed = [f - a.get_forces()[_order(elements, a)] for f, a in zip(forces, test, strict=True)]
    return {
        "n_train": len(train),
        "n_coefficients": len(model[1]),
        "log10_ridge": float(ridge),
        "us_per_atom": _cost(model, elements, test),
        **seconds,
        "per_atom": [a.get_potential_energy() / len(a) for a in test],
        "energy_errors": per_atom.tolist(),
        "force_errors": [f.ravel().tolist() for f in missed],
    } | _errors(per_atom, missed)


def pooled(results: list[dict[str, Any]], share: float) -> dict[str, Any]:
    """Errors over all sets together, of this share of the structures: those of the lowest energies per atom."""
    rows = sorted(
        (row for r in results for row in zip(r["per_atom"], r["energy_errors"], r["force_errors"], strict=True)),
        key=lambda row: row[0],
    )
    rows = rows[: int(share * len(rows))]
    most = {k: max(r[k] for r in results) for k in ("n_train", "n_coefficients", "log10_ridge", "us_per_atom")}
    spent = {k: sum(r[k] for r in results) for k in ("training_cpu_s", "training_wall_s")}
    return {**most, **spent, **_errors(np.array([e for _, e, _ in rows]), [np.array(f) for _, _, f in rows])}


def line(r: dict[str, Any]) -> str:
    return (
        f"{r['energy_rmse']:.1f} meV/atom {r['force_rmse']:.0f} meV/Å | without the worst 5 % {r['energy_trimmed']:.2f} "
        f"{r['force_trimmed']:.1f} | median {r['energy_median']:.2f} {r['force_median']:.1f} | "
        f"{r['n_test']} crystals, {r['n_coefficients']} coefficients, ridge 1e{r['log10_ridge']:+.0f}, "
        f"{r['us_per_atom']:.0f} µs/atom | "
        f"{r['n_train']} to train: CPU {r['training_cpu_s']:.1f} s, wall {r['training_wall_s']:.1f} s"
    )


def _errors(energies: np.ndarray, forces: list[np.ndarray]) -> dict[str, float]:
    """RMSE, RMSE without the worst 5 % of the crystals, median of the absolute errors: meV/atom and meV/Å."""
    result: dict[str, float] = {"n_test": len(energies)}
    for kind, each in (("energy", [1e3 * np.abs(energies[[c]]) for c in range(len(energies))]),
                       ("force", [1e3 * np.abs(f).ravel() for f in forces])):  # fmt: skip
        size = np.array([np.mean(x**2) for x in each])
        kept = np.argsort(size)[: len(size) - round(0.05 * len(size))]
        result[f"{kind}_rmse"] = float(np.sqrt(np.mean(np.concatenate(each) ** 2)))
        result[f"{kind}_trimmed"] = float(np.sqrt(np.mean(np.concatenate([each[c] for c in kept]) ** 2)))
        result[f"{kind}_median"] = float(np.median(np.concatenate(each)))
    return result


Fitted = tuple[Any, Any]  # parameters, scaled coefficients


def _fit(
    options: dict[str, Any], elements: list[str], train: list[Atoms], ridges: tuple[float, float, int]
) -> list[Fitted]:
    """One potential per ridge. The package wants a test set, too: it gets two of the same crystals, its choice is not used."""
    mlp = Pypolymlp(verbose=False)
    mlp.set_params(reg_alpha_params=ridges, **options)
    a, b = _labelled(elements, train), _labelled(elements, train[:2])
    mlp.set_datasets_structures(
        train_structures=a[0], train_energies=a[1], train_forces=a[2], train_stresses=a[3],
        test_structures=b[0], test_energies=b[1], test_forces=b[2], test_stresses=b[3],
    )  # fmt: skip
    mlp.fit()
    return [(mlp.parameters, m.coeffs / m.scales) for m in mlp._mlp_all_models]  # the one way to all ridges


def _predict(model: Fitted, elements: list[str], crystals: list[Atoms]) -> tuple[list[float], list[np.ndarray]]:
    """Energies (eV per cell) and forces (n, 3), atoms in the order of the elements."""
    energies, forces, _ = _properties(model).eval_multiple([_structure(elements, a) for a in crystals])
    return list(energies), [np.asarray(f).T for f in forces]


def _energy_error(model: Fitted, elements: list[str], crystals: list[Atoms]) -> float:
    """Median of the absolute errors: the ridge is not to be chosen by one violent crystal."""
    energies, _ = _predict(model, elements, crystals)
    return float(
        np.median([abs(e - a.get_potential_energy()) / len(a) for e, a in zip(energies, crystals, strict=True)])
    )


def _cost(model: Fitted, elements: list[str], crystals: list[Atoms]) -> float:
    """CPU µs per atom for energy, forces and stress of all crystals in one call, neighbours included."""
    structures, properties = [_structure(elements, a) for a in crystals], _properties(model)
    best = np.inf
    for _ in range(TIMED):
        started = time.process_time()
        properties.eval_multiple(structures)
        best = min(best, time.process_time() - started)
    return 1e6 * best / sum(len(a) for a in crystals)


def _properties(model: Fitted) -> Any:
    return Properties(params=model[0], coeffs=[model[1]])


def _labelled(elements: list[str], crystals: list[Atoms]) -> tuple[list[Any], np.ndarray, list[np.ndarray], np.ndarray]:
    """Structures, energies (eV), forces (3, n) and virials -dE/dstrain (3, 3) in eV per cell."""
    forces = [a.get_forces()[_order(elements, a)].T for a in crystals]
    energies = np.array([a.get_potential_energy() for a in crystals])
    return [_structure(elements, a) for a in crystals], energies, forces, np.array([_virial(a) for a in crystals])


def _virial(atoms: Atoms) -> np.ndarray:
    if atoms.pbc.all():
        return np.asarray(-atoms.get_stress(voigt=False) * atoms.get_volume())
    virial = atoms.positions.T @ atoms.get_forces()  # exact of a cluster, whose forces add up to zero
    return np.asarray((virial + virial.T) / 2)


def _order(elements: list[str], atoms: Atoms) -> np.ndarray:
    return np.argsort([elements.index(s) for s in atoms.symbols], kind="stable")


def _structure(elements: list[str], atoms: Atoms) -> Any:
    atoms = atoms[_order(elements, atoms)]
    if not atoms.pbc.all() and abs(np.linalg.det(atoms.cell)) < 1e-6:
        atoms.center(vacuum=BOX / 2)
    types = [elements.index(s) for s in atoms.symbols]
    return PolymlpStructure(
        axis=np.asarray(atoms.cell).T,
        positions=atoms.get_scaled_positions(wrap=False).T,
        n_atoms=[types.count(k) for k in range(len(elements))],
        elements=list(atoms.symbols),
        types=types,
        volume=abs(np.linalg.det(atoms.cell)),
    )


def _machine() -> str:
    model = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), "")
    return f"{model.partition(':')[2].strip() or platform.processor()}, {os.cpu_count()} cores, {platform.system()}"


def _files(directory: Path, kind: str) -> dict[str, Path]:
    return {p.name.split(".")[0]: p for p in sorted(directory.glob(f"*.{kind}*.extxyz"))}


if __name__ == "__main__":
    sys.exit(main())
