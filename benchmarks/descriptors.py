"""Which descriptor: error against cost of densities of several sizes, symmetry functions and pypolymlp on the same crystals.

    python benchmarks/descriptors.py unep [--train 500] [--systems CuPd CuPdAg] [--descriptors NAME ...] [--seed 0]
    python benchmarks/descriptors.py vasp | cost
    python benchmarks/descriptors.py peers --python POLY/bin/python [--settings pair third third9]
    python benchmarks/descriptors.py table | plot
    python benchmarks/descriptors.py --quick

All descriptors have one network (a hidden layer of 10 units, 6 for VASP; one member), one trainer, one weighting of the
labels; of several seeds, which is where fits begin, tables have medians. Every command is resumable: what stands in
benchmarks/descriptors/*.json is not computed again. Errors: labels of UNEP-v1, test crystals whose formation energy is up to
0.6 eV/atom above the lowest of their set; VASP Cu-Ag, folds 0 to 8 of `vasp_cu_ag.py` (the equation of state is the tenth), the
lowest 90 % of energies. Costs are CPU time on one core, energies, forces and stresses with the neighbour search, medians; `cost`
takes 32 cells of 4 to 32 atoms, the others the test crystals.
For POLY see `pypolymlp_peer.py`; it is trained on its own set and all sets of fewer of its elements.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: costs are of one core

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from kernel import SPECIES, cells, random_model
from strata import CACHE, CEILING, machine, opened, save
from unep_data import POTENTIAL, Unep, formation_energies, make
from unep_library import LARGEST, SEED, TEST, TRAIN, few
from vasp_cu_ag import DATA, FOLDS, LOW, division, load

from potentials import kernels
from potentials.dataset import Dataset, write_dataset
from potentials.features.symmetry_functions import G4, VP2017, SymmetryFunctions
from potentials.jointly import plan_jointly
from potentials.library import Library
from potentials.network import Descriptor, Model, Shape
from potentials.recipe import Fitting, Recipe
from potentials.stratum import Stratum
from potentials.structures import Floats, Prediction
from potentials.train import finish_all, fit_member, plan

HERE = Path(__file__).resolve().parent
RESULTS, PLOT = HERE / "descriptors", HERE.parent / "docs" / "descriptors.svg"
BOHR = 0.529177249  # Å, as MAISE has it
# the standard set of MAISE's models: eta in Bohr^-2, each with its (zeta, lambda)
_FEW, _ALL = ((1, -1), (1, 1), (2, -1), (2, 1)), tuple((z, s) for z in (1, 2, 4, 16) for s in (-1, 1))
_STANDARD = {**dict.fromkeys((1e-4, 0.003, 0.008), _FEW), **dict.fromkeys((0.015, 0.025, 0.045), _ALL), 0.08: _ALL[:-1]}
STANDARD = SymmetryFunctions(
    VP2017.cutoff, VP2017.radial, tuple(G4(eta / BOHR**2, z, s) for eta, angles in _STANDARD.items() for z, s in angles)
)
SIZES = ((5, 4), (4, 4), (4, 3), (3, 4), (6, 4))
DESCRIPTORS: dict[str, Descriptor] = {
    "n5 L4 Rc6": Shape(6.0, 5, 4, 8),
    "G51": STANDARD,
    "G30": VP2017,
    **{f"n{n} L{l} Rc{c}": Shape(float(c), n, l, 8) for c in (6, 5) for n, l in SIZES},
}
SETS = ("Cu", "CuPd", "CuPdAg", "VASP CuAg")
# VASP: 384 crystals of two atoms, of which many lie high and which leave the pair open: smaller networks and stronger priors,
# for all descriptors; decay was chosen among 0.5, 5 and 20 on another division into folds (7)
VASP_FITTING = Fitting(energy=0.002, virial=0.06, high_energy=1.5, high_force=5.0, decay=20.0, pull=50.0, few=0)
VASP_HIDDEN = 6
REPEATS = 15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = ["unep", "vasp", "cost", "peers", "table", "plot"]
    parser.add_argument("what", nargs="?", choices=commands, default="table")
    parser.add_argument("--train", type=int, default=500, help="crystals of each set, at most 1500")
    parser.add_argument("--systems", nargs="+", default=["CuPd", "CuPdAg"], help="with all sets below")
    parser.add_argument("--descriptors", nargs="+", default=list(DESCRIPTORS), choices=list(DESCRIPTORS))
    parser.add_argument("--seed", type=int, default=0, help="where the fits begin")
    parser.add_argument("--python", type=Path, help="of an environment with pypolymlp")
    parser.add_argument("--settings", nargs="+", default=["pair", "third", "third9"], help="of pypolymlp_peer.py")
    parser.add_argument("--quick", action="store_true", help="Cu, 150 crystals, two descriptors; keeps nothing")
    asked = parser.parse_args()
    absent = [p.name for p in (POTENTIAL, DATA) if not p.exists()]
    if absent and (asked.quick or asked.what in ("unep", "vasp", "peers")):
        print(f"{', '.join(absent)} must lie beside the repository, in shared/", file=sys.stderr)
        return 74
    if asked.what == "peers" and not asked.quick and not asked.python:
        print("`peers` needs --python, of an environment with pypolymlp (see pypolymlp_peer.py)", file=sys.stderr)
        return 64
    if asked.quick:
        quick()
    elif asked.what == "unep":
        for system in asked.systems:
            for name in asked.descriptors:
                unep(name, Stratum.parse(system), asked.train, asked.seed)
    elif asked.what == "vasp":
        for name in asked.descriptors:
            vasp(name, asked.seed)
    elif asked.what == "cost":
        cost(asked.descriptors)
    elif asked.what == "peers":
        for system in asked.systems:
            for setting in asked.settings:
                peer(asked.python, setting, system, asked.train)
    else:
        (table if asked.what == "table" else plot)(asked.train)
    return 0


def recipe(name: str, fitting: Fitting | None = None, hidden: int = 10) -> Recipe:
    return Recipe(DESCRIPTORS[name], hidden=hidden, members=1, fitting=fitting or Fitting())


@cache
def crystals(name: str, train: int) -> tuple[Dataset, Dataset]:
    """Training crystals, and test crystals up to CEILING above the lowest."""
    known, test = make(name, TRAIN, TEST, LARGEST, SEED, CACHE / "unep")
    height = formation_energies(test, Unep())
    return few(known, train), test.select(np.flatnonzero(height <= height.min() + CEILING))


def unep(name: str, system: Stratum, train: int, seed: int) -> None:
    """Train all strata of the system, one after the other, and measure each on its test crystals."""
    path = _of_seed(f"unep-{train}", seed)
    folder = CACHE / "descriptors" / (f"{train}-{seed}" if seed else str(train)) / name.replace(" ", "-")
    library = opened(folder, recipe(name, Fitting(seed=seed)))
    for stratum in system.subsets():
        record = _record(path)
        mine = record["results"].setdefault(name, {})
        if stratum.name in mine:
            continue
        data, test = crystals(stratum.name, train)
        spent = 0.0
        if stratum.name not in library.versions():
            spent = _fit(library, stratum, data)
        else:  # trained by a run that was cut before it wrote its errors
            spent = float(library.stratum(stratum).metadata["seconds_training"])
        mine[stratum.name] = {**_measured(library.assemble(stratum).model, test), "n_train": len(data), "cpu_s": spent}
        save(path, record)
        print(_row(name, stratum.name, mine[stratum.name]), flush=True)


def _fit(library: Library, stratum: Stratum, data: Dataset) -> float:
    """CPU seconds of training the stratum into the library."""
    started = time.process_time()
    tasks = plan(library, library.versions(), data, stratum)
    for trained in finish_all(tasks, [fit_member(task) for task in tasks]):
        library.add(trained)
    return time.process_time() - started


def vasp(name: str, seed: int) -> None:
    """Cross-validation, both elements' blocks and the pair's fitted together to the binary crystals of the other folds."""
    path, pair = _of_seed("vasp", seed), Stratum.parse("CuAg")
    dataset = load(DATA)
    fold = division(dataset, 0)
    record = _record(path)
    mine = record["results"].setdefault(name, {"folds": {}})
    for k in range(FOLDS - 1):
        if str(k) in mine["folds"]:
            continue
        known, test = dataset.select(np.flatnonzero(fold != k)), dataset.select(np.flatnonzero(fold == k))
        started = time.process_time()
        with tempfile.TemporaryDirectory() as directory:
            library = Library.create(
                Path(directory) / "library", recipe(name, replace(VASP_FITTING, seed=seed), VASP_HIDDEN)
            )
            tasks = plan_jointly(library.recipe, known, pair)
            for trained in finish_all(tasks, [fit_member(task) for task in tasks]):
                library.add(trained)
            spent = time.process_time() - started
            model = library.assemble(pair).model
        predicted = kernels.evaluate(test.structures, model)
        energies, forces = _missed(predicted, test)
        mine["folds"][str(k)] = {
            "per_atom": (test.labels.energies / test.structures.sizes).tolist(),
            "energy_errors": energies.tolist(),
            "force_errors": [f.ravel().tolist() for f in forces],
            "cpu_s": spent,
            "us_per_atom": _cost(model, test),
        }
        save(path, record)
    mine.update(_pooled(list(mine["folds"].values())))
    save(path, record)
    print(_row(name, "VASP CuAg", mine), flush=True)


def _pooled(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the structures of the lowest energies of all folds together."""
    rows = [r for f in folds for r in zip(f["per_atom"], f["energy_errors"], f["force_errors"], strict=True)]
    rows = sorted(rows, key=lambda row: row[0])[: int(LOW * len(rows))]
    return {
        **_figures(np.array([e for _, e, _ in rows]), [np.array(f) for *_, f in rows]),
        "cpu_s": sum(f["cpu_s"] for f in folds),
        "us_per_atom": float(np.median([f["us_per_atom"] for f in folds])),
    }


def _measured(model: Model, test: Dataset) -> dict[str, Any]:
    return {**_figures(*_missed(kernels.evaluate(test.structures, model), test)), "us_per_atom": _cost(model, test)}


def _missed(predicted: Prediction, test: Dataset) -> tuple[Floats, list[Floats]]:
    """Errors of the energies, eV per atom, and of the forces of each crystal, eV/Å."""
    forces = predicted.forces - test.labels.forces
    offsets = test.structures.offsets.tolist()
    energies = (predicted.energies - test.labels.energies) / test.structures.sizes
    return energies, [forces[a:b] for a, b in pairwise(offsets)]


def _figures(energies: Floats, forces: list[Floats]) -> dict[str, Any]:
    """RMSE, RMSE without the worst 5 % of the crystals, median of the absolute errors: meV/atom, meV/Å."""
    result: dict[str, Any] = {"n_test": len(energies)}
    for kind, each in (("energy", list(energies[:, None])), ("force", [f.ravel() for f in forces])):
        order = np.argsort([np.mean(x * x) for x in each])
        kept = order[: len(order) - round(0.05 * len(order))]
        result[f"{kind}_rmse"] = 1e3 * float(np.sqrt(np.mean(np.concatenate(each) ** 2)))
        result[f"{kind}_trimmed"] = 1e3 * float(np.sqrt(np.mean(np.concatenate([each[c] for c in kept]) ** 2)))
        result[f"{kind}_median"] = 1e3 * float(np.median(np.abs(np.concatenate(each))))
    return result


def _cost(model: Model, test: Dataset) -> float:
    """Median CPU µs per atom."""
    work, times = partial(kernels.evaluate, test.structures, model), []
    work()
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1e6 * float(np.median(times)) / len(test.structures.numbers)


def cost(names: list[str]) -> None:
    """Single network and committee of four, of Cu and of Cu-Pd-Ag; one run, the descriptors in turn in every repetition."""
    from potentials.structures import Structures

    supercells, record = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2)] * 8, machine() | {"results": {}}
    batches = {
        n: Structures.from_ase(cells(np.random.default_rng(0), supercells, SPECIES[:n])) for n in (1, len(SPECIES))
    }
    models = {
        (name, members): random_model(np.random.default_rng(1), DESCRIPTORS[name], 10, 0, members)
        for name in names
        for members in (1, 4)
    }
    for n, structures in batches.items():
        times: dict[tuple[str, int], list[float]] = {key: [] for key in models}
        for _ in range(REPEATS):
            for key, model in models.items():
                started = time.process_time()
                kernels.evaluate(structures, model)
                times[key].append(time.process_time() - started)
        for (name, members), found in times.items():
            figure = 1e6 * float(np.median(found)) / len(structures.numbers)
            record["results"].setdefault(name, {})[f"{n} elements, {members} members"] = figure
    for name, found in record["results"].items():
        print(f"{name:<10}" + "".join(f"{k}: {v:7.1f} µs/atom   " for k, v in found.items()))
    save(RESULTS / "cost.json", record)


def peer(python: Path, setting: str, system: str, train: int) -> None:
    """pypolymlp on the sets of this system, with the elements below it in its data."""
    directory, path = CACHE / "descriptors" / f"peer-{train}", RESULTS / f"pypolymlp-{train}.json"
    directory.mkdir(parents=True, exist_ok=True)
    for stratum in Stratum.parse(system).subsets():
        for kind, data in zip(("train", "test"), crystals(stratum.name, train), strict=True):
            if not (target := directory / f"{stratum.name}.{kind}.extxyz").exists():
                write_dataset(target, data)
    for stratum in (s for s in Stratum.parse(system).subsets() if s.name in SETS):
        record = _record(path)
        mine = record["results"].setdefault(f"pypolymlp {setting}", {})
        if stratum.name in mine:
            continue
        output = directory / f"{stratum.name}.{setting}.json"
        command = [str(python), str(HERE / "pypolymlp_peer.py"), str(directory), "--setting", setting, "--joint"]
        subprocess.run([*command, "--names", stratum.name, "-o", str(output)], check=True)
        found = json.loads(output.read_text())["results"][stratum.name]
        mine[stratum.name] = {k: v for k, v in found.items() if not isinstance(v, list)}
        mine[stratum.name]["cpu_s"] = mine[stratum.name].pop("training_cpu_s")
        save(path, record)


def found(train: int) -> dict[str, dict[str, dict[str, Any]]]:
    """All committed results: of each descriptor or setting, by set; medians where there are several seeds."""
    of_seeds: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for path in _of_seeds(f"unep-{train}"):
        for name, sets in _record(path)["results"].items():
            for system, figures in sets.items():
                of_seeds.setdefault(name, {}).setdefault(system, []).append(figures)
    for path in _of_seeds("vasp"):
        for name, pooled in _record(path)["results"].items():
            if "energy_rmse" in pooled:
                figures = {k: v for k, v in pooled.items() if k != "folds"}
                of_seeds.setdefault(name, {}).setdefault("VASP CuAg", []).append(figures)
    result: dict[str, dict[str, dict[str, Any]]] = {
        name: {
            system: {k: float(np.median([f[k] for f in several])) for k in several[0]}
            for system, several in by_system.items()
        }
        for name, by_system in of_seeds.items()
    }
    for name, sets in _record(RESULTS / f"pypolymlp-{train}.json")["results"].items():
        result.setdefault(name, {}).update(sets)
    for path in sorted((HERE / "pypolymlp_peer").glob("vasp_cu_ag.*.json")):
        pooled = json.loads(path.read_text())["results"]["pooled"]
        result.setdefault(f"pypolymlp {path.name.split('.')[1]}", {})["VASP CuAg"] = {
            **pooled,
            "cpu_s": pooled["training_cpu_s"],
        }
    return result


def table(train: int) -> None:
    everything = found(train)
    title = ("RMSE", "trimmed", "median")
    print(
        f"| {train} crystals a set | set | meV/atom: {', '.join(title)} | meV/Å: {', '.join(title)} | µs/atom | CPU s |"
    )
    print("|---|---|---|---|---|---|")
    for wanted in SETS:
        for name, sets in everything.items():
            if wanted in sets:
                print(_row(name, wanted, sets[wanted]))


def _row(name: str, stratum: str, r: dict[str, Any]) -> str:
    energy, force = (
        ", ".join(f"{r[f'{k}_{w}']:.{d}f}" for w in ("rmse", "trimmed", "median"))
        for k, d in (("energy", 2), ("force", 1))
    )
    return f"| {name} | {stratum} | {energy} | {force} | {r['us_per_atom']:.1f} | {r['cpu_s']:.0f} |"


def plot(train: int) -> None:
    """Energy error without the worst 5 % against cost."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "descriptors"  # the same figures give the same file
    from matplotlib import pyplot

    everything = found(train)
    measured = [s for s in SETS if any(s in everything.get(name, {}) for name in DESCRIPTORS)]
    figure, axes = pyplot.subplots(
        1, len(measured), figsize=(4.5 * len(measured), 4), squeeze=False, layout="constrained"
    )
    for axis, wanted in zip(axes.flat, measured, strict=True):
        for name, sets in everything.items():
            if wanted not in sets:
                continue
            colour, marker = (
                ("C3", "^") if name.startswith("pyp") else ("C1", "s") if name in ("G51", "G30") else ("C0", "o")
            )
            x, y = sets[wanted]["us_per_atom"], sets[wanted]["energy_trimmed"]
            axis.loglog(x, y, marker, color=colour)
            axis.annotate(name, (x, y), textcoords="offset points", xytext=(4, 3), fontsize=7)
        axis.set(title=wanted, xlabel="µs/atom, one core", ylabel="meV/atom, RMSE without the worst 5 %")
        axis.margins(0.25)
        axis.grid(alpha=0.3, which="both")
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None})
    print(PLOT.relative_to(HERE.parent))


def quick() -> None:
    copper, lines = Stratum.parse("Cu"), []
    data, test = crystals("Cu", 150)
    for name in ("n5 L4 Rc6", "G51"):
        with tempfile.TemporaryDirectory() as directory:
            library = Library.create(Path(directory) / "library", recipe(name))
            _fit(library, copper, data)
            r = _measured(library.assemble(copper).model, test)
        lines.append(
            f"{name} {r['energy_rmse']:.1f} meV/atom {r['force_rmse']:.0f} meV/Å at {r['us_per_atom']:.1f} µs/atom"
        )
    print(f"Cu, {len(data)} crystals: " + ", ".join(lines))


def _of_seed(stem: str, seed: int) -> Path:
    return RESULTS / (f"{stem}-{seed}.json" if seed else f"{stem}.json")


def _of_seeds(stem: str) -> list[Path]:
    """Files of every seed that has one."""
    return [RESULTS / f"{stem}.json", *sorted(RESULTS.glob(f"{stem}-*.json"))]


def _record(path: Path) -> dict[str, Any]:
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    return {**machine(), "results": {}}


if __name__ == "__main__":
    sys.exit(main())
