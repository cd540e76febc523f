"""How well does a network know the hull that has seen the bootstrap alone?

    python benchmarks/bootstrap.py --system Cu-Pd-Ag --calls 700 --seed 0

Makes the training set, trains every stratum, relaxes the superstructures of benchmarks/hull_truth/<system>.json that lie
within 50 meV/atom of the hull and random crystals of a search, and compares with the reference. Prints, and writes
benchmarks/cache/bootstrap_<system>_<calls>_<seed>.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from hull_truth import HERE, superstructures

from evo import bootstrap
from evo.bootstrap.crystals import searched
from evo.cell import Space, counts_of
from evo.hull import Hull, Point
from evo.learn import strata_to_train
from evo.reference import Label, Reference, open_reference
from evo.settings import NetworkSection, ReferenceSection
from potentials.calculator import from_calculator
from potentials.dataset import Dataset
from potentials.library import Library, Recipe
from potentials.network import Shape
from potentials.potential import Potential
from potentials.relax import relax
from potentials.stratum import Stratum
from potentials.structures import Floats, Structures
from potentials.train import finish, fit_member, plan

NEAR = 0.05  # eV/atom above the truth hull
SEARCHES = 120  # random crystals
SEED_OF_TEST = 987654


def made(reference: Reference, elements: tuple[int, ...], calls: int, seed: int) -> tuple[Dataset, int]:
    """The bootstrap's training set and the calls it took."""
    space = Space(elements=elements, n_atoms=(1, 8))
    results = [bootstrap.run_task(t, reference) for t in bootstrap.plan(elements, calls, seed, space)]
    labelled = [x for r in results for x in r.labelled]
    dataset = Dataset.of(
        [x.atoms for x in labelled],
        energies=[x.label.energy for x in labelled],
        forces=[x.label.forces for x in labelled],
        stresses=[x.label.stress for x in labelled],
        families=[x.family for x in labelled],
        method=reference.method,
    )
    return dataset, sum(r.calls for r in results)


def trained(dataset: Dataset, elements: tuple[int, ...], network: NetworkSection, path: Path) -> Potential:
    """A potential of these elements, strata trained one after the other in this process."""
    shutil.rmtree(path, ignore_errors=True)
    shape = Shape(network.cutoff, n_max=network.radial, l_max=network.angular, n_pair=network.pair)
    library = Library.create(path, Recipe(shape=shape, hidden=network.hidden, members=network.members))
    versions: dict[str, int] = {}
    for stratum in strata_to_train(elements):
        start = time.process_time()
        tasks = plan(library, versions, dataset, stratum)
        versions[stratum.name] = library.add(finish(tasks, [fit_member(t) for t in tasks]))
        print(
            f"trained {stratum.name:8s} on {len(dataset.of_stratum(stratum)):4d} labels, "
            f"{time.process_time() - start:6.1f} s",
            flush=True,
        )
    return library.assemble(Stratum(elements), versions=versions)


def held_out_errors(potential: Potential, dataset: Dataset) -> dict[str, Any]:
    """RMSE in meV/atom and meV/Å of what training did not see, by stratum."""
    result = {}
    for name, part in (("training", dataset.training()), ("held out", dataset.held_out())):
        for stratum in sorted(set(part.strata()), key=Stratum.sort_key):
            some = part.of_stratum(stratum)
            said = potential.evaluate(some.structures)
            energy = 1e3 * (said.energies - some.labels.energies) / some.structures.sizes
            force = 1e3 * (said.forces - some.labels.forces)
            result[f"{name} {stratum.name}"] = [len(some), round(_rms(energy), 2), round(_rms(force), 1)]
    return result


def ordered_errors(system: str, potential: Potential, reference: Reference) -> dict[str, Any]:
    """The superstructures near the hull, relaxed with the network from where the truth started.

    meV/atom: `formation` is the error of the formation energy; `geometry` how much higher the reference finds the
    network's crystal than its own; `phases` how high the network puts the phases of the truth hull above its own.
    """
    truth = json.loads((HERE / "hull_truth" / f"{system}.json").read_text())
    elements = system.split("-")
    near = {
        name: energy for name, _, energy, above in truth["rows"] if above < NEAR or name[4:] in ("0000", "0001", "0002")
    }
    names, crystals = zip(*((n, a) for n, a in superstructures(elements) if n in near), strict=True)
    end = relax(potential.evaluate, Structures.from_ase(crystals), max_calls=200)
    ok = [i for i, outcome in enumerate(end.outcomes) if outcome == "converged"]
    atoms = [end.structures.atoms(i) for i in ok]
    counts = [counts_of(a.numbers) for a in atoms]
    said = np.array([end.prediction.energies[i] / len(a) for i, a in zip(ok, atoms, strict=True)])
    true = np.array([near[names[i]] for i in ok])
    mine = Hull.of([Point(c, e, "nn", names[i]) for c, e, i in zip(counts, said, ok, strict=True)])
    real = Hull.of([Point(c, e, "ref", names[i]) for c, e, i in zip(counts, true, ok, strict=True)])
    error = 1e3 * np.array(
        [_formation(mine, c, e) - _formation(real, c, t) for c, e, t in zip(counts, said, true, strict=True)]
    )
    labels = [reference.evaluate(a) for a in atoms]
    single = np.array(
        [x.energy / len(a) if isinstance(x, Label) else np.inf for x, a in zip(labels, atoms, strict=True)]
    )
    by_name = {names[i]: k for k, i in enumerate(ok)}
    result: dict[str, Any] = {"structures": len(names), "outcomes": _tally(end.outcomes), "calls": int(end.calls.sum())}
    for stratum in Stratum.of(elements).subsets():
        index = [k for k, c in enumerate(counts) if set(c) == set(stratum.numbers)]
        if index:
            result[stratum.name] = [
                len(index),
                round(_rms(error[index]), 2),
                round(float(error[index].mean()), 2),
                round(float(error[index].min()), 1),
                round(float(error[index].max()), 1),
            ]
    result["geometry"] = [round(float(x), 2) for x in np.percentile(1e3 * (single - true), [50, 90, 99])]
    vertices = [v for v in real.vertices if v in by_name]
    result["phases"] = {v: round(1e3 * mine.above(counts[by_name[v]], said[by_name[v]]), 1) for v in vertices}
    # an estimate of what a campaign ends with: the reference's hull over the network's best 40
    heights = mine.above_many(counts, said)
    best = np.argsort(heights)[:40]
    found = Hull.of(
        [Point(counts[k], single[k], "ref", names[ok[k]]) for k in best if np.isfinite(single[k])]
        + [Point({z: 1}, e, "ref", str(z)) for z, e in real.end_members.items()]
    )
    gaps = [1e3 * (found.energy(counts[by_name[v]]) - true[by_name[v]]) for v in vertices]
    result["gap of the best 40"] = round(max(gaps), 2)
    return result


def search_errors(elements: tuple[int, ...], potential: Potential, reference: Reference) -> dict[str, Any]:
    """Random crystals relaxed with the network: how they end, and what the reference says of them, in meV/atom."""
    rng = np.random.default_rng(SEED_OF_TEST)
    strata = Stratum(elements).subsets()
    spaces = [Space(elements=s.numbers, n_atoms=(s.order, 8)) for s in strata]
    crystals = [searched(rng, spaces[k % len(spaces)]) for k in range(SEARCHES)]
    end = relax(potential.evaluate, Structures.from_ase(crystals), max_calls=200)
    ok = [i for i, outcome in enumerate(end.outcomes) if outcome == "converged"]
    errors, heights = [], []
    for i in ok:
        atoms = end.structures.atoms(i)
        label = reference.evaluate(atoms)
        if isinstance(label, Label):
            errors.append(1e3 * (end.prediction.energies[i] - label.energy) / len(atoms))
            again = relax(from_calculator(reference.calculator()), Structures.from_ase([atoms]), max_calls=60)
            heights.append(1e3 * (label.energy - again.prediction.energies[0]) / len(atoms))
    return {
        "outcomes": _tally(end.outcomes),
        "calls": round(float(np.mean(end.calls)), 1),
        "rmse": round(_rms(np.array(errors)), 1),
        "percentiles 1 10 50 90 99": [round(float(x), 1) for x in np.percentile(errors, [1, 10, 50, 90, 99])],
        "relaxing on lowers by 50 90": [round(float(x), 1) for x in np.percentile(heights, [50, 90])],
    }


def _formation(hull: Hull, counts: dict[int, int], energy: float) -> float:
    formation = hull.formation(counts, energy)
    assert formation is not None
    return formation


def _rms(x: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) if len(x) else float("nan")


def _tally(outcomes: list[str]) -> dict[str, int]:
    return {o: outcomes.count(o) for o in sorted(set(outcomes))}


def main() -> None:
    parser = argparse.ArgumentParser(description="a network trained on the bootstrap alone, against the truth")
    parser.add_argument("--system", default="Cu-Pd-Ag")
    parser.add_argument("--calls", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    elements = tuple(sorted(atomic_numbers[s] for s in given.system.split("-")))
    reference = open_reference(ReferenceSection(engine="emt"))
    assert reference is not None
    dataset, calls = made(reference, elements, given.calls, given.seed)
    name = f"bootstrap_{given.system}_{given.calls}_{given.seed}"
    (HERE / "cache").mkdir(exist_ok=True)
    result: dict[str, Any] = {"calls": calls, "labels": len(dataset)}
    print(result, flush=True)
    potential = trained(dataset, elements, NetworkSection(), HERE / "cache" / name)
    for title, part in (
        ("errors: labels, meV/atom, meV/Å", held_out_errors(potential, dataset)),
        (
            "ordered: n, rmse, mean, min, max of the formation energy, meV/atom",
            ordered_errors(given.system, potential, reference),
        ),
        ("searches", search_errors(elements, potential, reference)),
    ):
        result[title] = part
        print(title)
        for key, value in part.items():
            print(f"    {key:20s} {value}", flush=True)
    (HERE / "cache" / f"{name}.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
