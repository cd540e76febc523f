"""Cross-validation on 424 VASP-PBE structures of Cu-Ag: 113 dimers, 250 two-atom cells, 61 volumes of CuAg3.

    python benchmarks/vasp_cu_ag.py [--elements | --stratified | --embedded] [--quick]

Ten folds; the 61 points of the equation of state are one of them. The strata Cu, Ag and CuAg are fitted at once to the other
nine (`potentials.jointly`), from scratch, a committee of four. Prints errors over the structures in the lowest 90 % of
energies per atom, and writes them to JSON, one fold after another: a run that was cut goes on. --export writes every fold as
extxyz for `pypolymlp_peer.py`.

A two-atom cell has the same vectors between its Cu as between its Ag, so 1:1 cells and dimers fix only sums over the two
elements. The energy of CuAg3 is therefore not determined by the other nine folds, whatever the model: its fold shows what
the prior says, and is also reported apart. --elements adds crystals of pure Cu and pure Ag to every training, as a library has
them below the pair, made and labelled by `vasp_data.py`, which also says where the data are from. --stratified trains bottom up
on the same crystals, as a library does: Cu and Ag on their own, full weight, then the pair on the nine folds. --embedded has an
embedded-atom potential (potentials/embedded) under the networks of --elements: it knows how bonds weaken as their number grows,
so that other compositions follow.

The settings stand below, the same for every fold. They were chosen on another division into folds (--division 7), but for
`decay`, `pull` and the cut-off of --embedded, which were set on the equation of state itself as well, with crystals of the
elements: its figure is no prediction of what a new composition would show. No crystal is held out or validates beyond the
folds, so that nine tenths are fitted; a fit ends by its number of iterations.
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
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from vasp_data import DATA, is_equation_of_state, labelled_elements, load

from potentials.dataset import Dataset, write_dataset
from potentials.jointly import plan_jointly
from potentials.library import Library
from potentials.network import Shape
from potentials.recipe import Fitting, Recipe
from potentials.stratum import Stratum
from potentials.train import FOLDS as VALIDATING
from potentials.train import finish_all, fit_member, plan

HERE = Path(__file__).resolve().parent
PAIR = Stratum.parse("CuAg")
FOLDS, LOW, WORST = 10, 0.90, 0.05  # folds; share of the energies that count; share left out of the trimmed errors
WEIGHT = 0.1  # of a crystal of one element
USUAL_ITERATIONS, ITERATIONS_OF_ELEMENTS, ITERATIONS = 25, 60, {"embedded": 18}
DECAY_OF_REST, PULL_OF_REST = (
    5.0,
    3000.0,
)  # what networks learn is to be the same in all surroundings, but where labels differ
REACH = 6.9  # Å, where the bonds of silver end in the embedded-atom potential
# virial: the stresses contradict the energies by about 0.025 eV/atom (plane waves of a fixed cut-off)
# no repulsion: the dimers reach down to 1.60 Å, where that baseline is twice as steep as the labels
RECIPE = Recipe(
    Shape(6.0, n_max=5, l_max=4, n_pair=8),
    hidden=6,
    repulsion=False,
    fitting=Fitting(
        energy=0.002, force=0.06, virial=0.06, high_energy=1.5, high_force=5.0, decay=0.5, pull=50.0, few=0
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="JSON; benchmarks/vasp_cu_ag/ when left out")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--elements", action="store_true", help="crystals of Cu and of Ag in every training")
    ways.add_argument("--stratified", action="store_true", help="Cu and Ag first, on such crystals; then the pair")
    text = "an embedded-atom potential to all of them, networks to what it leaves"
    ways.add_argument("--embedded", action="store_true", help=text)
    parser.add_argument(
        "--quick", action="store_true", help="two folds, not kept: the first, and the equation of state"
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
    chosen = {"stratified": asked.stratified, "with_elements": asked.elements, "embedded": asked.embedded}
    way = next((name for name, this in chosen.items() if this), "alone")
    recipe = RECIPE
    if way == "embedded":
        fitting = replace(RECIPE.fitting, decay=DECAY_OF_REST, pull=PULL_OF_REST)
        recipe = replace(
            RECIPE, shape=Shape(REACH, n_max=5, l_max=4, n_pair=8), embedded=True, degree=4, fitting=fitting
        )
    path, weight = asked.output or HERE / "vasp_cu_ag" / f"{way}.json", 1.0 if asked.stratified else WEIGHT
    below = dataset.select([]) if way == "alone" else labelled_elements()
    below = replace(below, weights=np.full(len(below), weight))
    setup = {
        "recipe": recipe.to_json(),
        "iterations": ITERATIONS.get(way, USUAL_ITERATIONS),
        "weight": weight,
        "division": asked.division,
        "data": hashlib.sha256((dataset.content_hash() + below.content_hash()).encode()).hexdigest(),
    }
    record = known(None if asked.quick else path, setup)
    for k in [0, FOLDS - 1] if asked.quick else range(FOLDS):
        if str(k) not in record["folds"]:
            training = dataset.select(np.flatnonzero(fold != k)).followed_by(below)
            record["folds"][str(k)] = one_fold(training, dataset, np.flatnonzero(fold == k), way, recipe)
            record["summary"] = summary(dataset, record["folds"])
            if not asked.quick:
                keep(path, record)
        done = record["folds"][str(k)]
        print(f"fold {k}: {len(done['structures'])} structures, CPU {done['cpu_s']:.1f} s", flush=True)
    for name, figures in record["summary"].items():
        print(f"{name}: {line(figures)}")
    return 0


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


def all_fitted(dataset: Dataset) -> Dataset:
    """The same crystals under names of families by which none is held out nor validates: the folds do that here."""
    while (out := dataset.is_held_out() | (dataset.folds(VALIDATING) < RECIPE.members)).any():
        names = [f"{f}'" if o else f for f, o in zip(dataset.families, out, strict=True)]
        dataset = replace(dataset, families=tuple(names))
    return dataset


def one_fold(training: Dataset, dataset: Dataset, test: np.ndarray, way: str, recipe: Recipe) -> dict[str, Any]:
    """Errors, spreads and grades of the test structures, from networks fitted to the others."""
    wall, cpu = time.perf_counter(), time.process_time()
    fitted, asked = all_fitted(training), dataset.select(test)
    with tempfile.TemporaryDirectory() as directory:
        library = Library.create(Path(directory) / "fold", recipe)
        for stratum in PAIR.subsets() if way == "stratified" else [PAIR]:
            if way == "stratified":
                iterations = USUAL_ITERATIONS if stratum == PAIR else ITERATIONS_OF_ELEMENTS
                tasks = plan(library, library.versions(), fitted, stratum, iterations=iterations)
            else:
                iterations = ITERATIONS.get(way, USUAL_ITERATIONS)
                tasks = plan_jointly(recipe, fitted, PAIR, iterations=iterations)
            library.add_all(finish_all(tasks, [fit_member(task) for task in tasks]))
        potential = library.assemble(PAIR)
    predicted, offsets = potential.evaluate(asked.structures), asked.structures.offsets.tolist()
    missed = predicted.forces - asked.labels.forces
    return {
        "structures": test.tolist(),
        "energy_errors": ((predicted.energies - asked.labels.energies) / asked.structures.sizes).tolist(),
        "force_errors": [missed[a:b].ravel().tolist() for a, b in pairwise(offsets)],
        "spreads": (predicted.spreads / asked.structures.sizes).tolist(),
        "grades": potential.grades(asked.structures).tolist(),
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
    }


def summary(dataset: Dataset, folds: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Figures over the structures of the lowest energies: of all folds, without the equation of state, of it alone."""
    per_atom = dataset.labels.energies / dataset.structures.sizes
    low = per_atom <= np.sort(per_atom)[int(LOW * len(dataset)) - 1]
    special = is_equation_of_state(dataset)
    clocks = {clock: sum(f[clock] for f in folds.values()) for clock in ("cpu_s", "wall_s")}
    result = {}
    for name, mask in (("all", low), ("without EOS", low & ~special), ("EOS", low & special)):
        rows = [(f, k) for f in folds.values() for k, c in enumerate(f["structures"]) if mask[c]]
        if rows:
            result[name] = figures_of(rows) | clocks
    return result


def figures_of(rows: Sequence[tuple[dict[str, Any], int]]) -> dict[str, float]:
    """Errors in meV/atom and meV/Å; which of the worst 5 % of the energies are flagged, and how many of all."""
    energies = 1e3 * np.abs([f["energy_errors"][k] for f, k in rows])
    forces = [1e3 * np.abs(f["force_errors"][k]) for f, k in rows]
    grades = np.array([f["grades"][k] for f, k in rows])
    n_worst = max(1, round(WORST * len(rows)))
    order, gentle = np.argsort(energies), np.argsort([rms(f) for f in forces])[:-n_worst]
    worst = order[-n_worst:]
    return {
        "n": len(rows),
        "energy_rmse": rms(energies),
        "energy_trimmed": rms(energies[order[:-n_worst]]),
        "energy_median": float(np.median(energies)),
        "force_rmse": rms(np.concatenate(forces)),
        "force_trimmed": rms(np.concatenate([forces[c] for c in gentle])),
        "n_worst": n_worst,
        "n_worst_flagged": int((grades[worst] > 1).sum()),
        "n_flagged": int((grades > 1).sum()),
        "n_worst_in_top_fifth_of_grades": len(set(worst) & set(np.argsort(grades)[-round(0.2 * len(rows)) :])),
    }


def line(f: dict[str, float]) -> str:
    return (
        f"{f['n']} structures, {f['energy_rmse']:.1f} meV/atom {f['force_rmse']:.0f} meV/Å | without the worst 5 % "
        f"{f['energy_trimmed']:.2f} {f['force_trimmed']:.1f} | median {f['energy_median']:.2f} | "
        f"{f['n_worst_flagged']} of the {f['n_worst']} worst flagged, {f['n_flagged']} of all | "
        f"CPU {f['cpu_s']:.0f} s, wall {f['wall_s']:.0f} s"
    )


def rms(x: Any) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def known(path: Path | None, setup: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run with this set-up left; empty when it had another."""
    if path is not None and path.is_file():
        record: dict[str, Any] = json.loads(path.read_text())
        if {k: record.get(k) for k in setup} == setup:
            return record
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    model = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), "")
    machine = f"{model.partition(':')[2].strip() or platform.processor()}, {os.cpu_count()} cores, {platform.system()}"
    return {**setup, "machine": machine, "commit": commit.stdout.strip(), "folds": {}, "summary": {}}


def keep(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(record) + "\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
