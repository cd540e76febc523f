"""What an evaluation costs on a GPU: energies, forces and stresses of 8-atom Cu-Pd-Ag cells per second, and where the time goes.

    python benchmarks/gpu.py [--minutes 8] [--library DIR] [--out FILE]

Without a CUDA device, or without triton, it says so and ends. Else, within the minutes given, as a table and as JSON:

- agreement with the compiled kernel (torch in double precision where that is not built);
- evaluations per second, host arrays to host arrays, against the number of crystals, for a single network and a committee;
  beside them the torch kernel on the same device and the compiled kernel on one core;
- where the device spends its time at the largest batch, kernel by kernel, from torch's profiler;
- floors: operations counted in the source of the kernels, bytes counted from the arrays that each kernel must read and write,
  over what the same device reaches in a product of matrices in single precision and in copying; and the share reached;
- with a trained library of Cu, Pd, Ag: relaxed crystals per second against the number that starts together, and the share of
  that time that is the optimiser's on the processor.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from potentials import kernels
from potentials.network import AddedUnits, Model, Shape
from potentials.recipe import RECIPES, Recipe
from potentials.structures import Structures

SPECIES = (29, 46, 47)
TARGET = 500_000  # evaluations per second at full batches
OUT = Path(__file__).resolve().parent / "gpu.json"
FRACTIONS = np.array([(i, j, k) for i in range(2) for j in range(2) for k in range(2)]) / 2


def cells(n: int, rattle: float = 0.15, scale: float = 1.0, seed: int = 0) -> Structures:
    """fcc cells of 8 atoms, 14.3 Å³ per atom times scale³, strained by 5 %, rattled (Å), elements at random."""
    rng = np.random.default_rng(seed)
    fcc = 3.85 * scale * (1 - np.eye(3))  # twice the primitive vectors
    vectors = fcc @ (np.eye(3) + rng.normal(scale=0.05, size=(n, 3, 3)))
    positions = FRACTIONS @ vectors + rng.normal(scale=rattle, size=(n, 8, 3))
    numbers = rng.choice(SPECIES, size=8 * n).astype(np.int64)
    return Structures(numbers, positions.reshape(-1, 3), vectors, np.ones((n, 3), bool), 8 * np.arange(n + 1))


def recipes() -> dict[str, Recipe]:
    """What a library and what a campaign trains by default."""
    found = {"library": RECIPES["quick"]}
    with suppress(ImportError):  # a machine with a GPU may lack what the search needs
        from evo.settings import NetworkSection

        s = NetworkSection()
        shape = Shape(s.cutoff, n_max=s.radial, l_max=s.angular, n_pair=s.pair)
        found["campaign"] = Recipe(shape=shape, hidden=s.hidden, members=s.members)
    return found


def random_model(recipe: Recipe, members: int) -> Model:
    """Weights at random: they play no part in the speed."""
    rng, n, shape = np.random.default_rng(1), len(SPECIES), recipe.shape
    lanes, added = recipe.hidden * members, recipe.widened * members
    n_features, blocks = shape.n_features(n), len(shape.blocks(SPECIES[0], SPECIES))
    return Model(
        shape=shape,
        species=SPECIES,
        members=members,
        hidden=recipe.hidden,
        weights=0.01 * rng.normal(size=(n, n_features, lanes)),
        biases=rng.normal(size=(n, lanes)),
        outputs=rng.normal(size=(n, lanes)),
        shifts=rng.normal(size=(n, members)),
        repulsion=True,
        added=AddedUnits(
            recipe.widened,
            0.01 * rng.normal(size=(n, n_features, added)),
            rng.normal(size=(n, blocks, added)),
            rng.normal(size=(n, blocks, added)),
        )
        if recipe.widened
        else None,
    )


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median; `work` ends with arrays on the host, so that nothing is left running."""
    work()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))


def agreement(model: Model) -> dict[str, float]:
    """Largest deviation from double precision, eV per cell, eV/Å, eV/Å³."""
    some = cells(64)
    exact = "compiled" if "compiled" in kernels.available() else "torch"
    expected = kernels.evaluate(some, model, kernel=exact)
    found = kernels.evaluate(some, model, kernel="triton", device="cuda")
    names = ("energies", "forces", "stresses")
    return {name: float(np.abs(getattr(found, name) - getattr(expected, name)).max()) for name in names}


def rates(model: Model, until: float) -> dict[str, float]:
    """Evaluations per second by number of crystals; larger batches while time is left."""
    found: dict[str, float] = {}
    for n in (2**k for k in range(8, 20)):
        if found and time.perf_counter() > until:
            break
        found[str(n)] = n / seconds(partial(kernels.evaluate, cells(n), model, kernel="triton", device="cuda"), 5)
        print(f"  {n:>7} crystals {found[str(n)]:>10,.0f} evaluations/s", flush=True)
    return found


def peers(model: Model) -> dict[str, float]:
    """Evaluations per second of the other kernels."""
    found = {
        "torch on the same device": 2048
        / seconds(partial(kernels.evaluate, cells(2048), model, "torch", device="cuda"), 3)
    }
    if "compiled" in kernels.available():
        found["compiled, one core"] = 256 / seconds(partial(kernels.evaluate, cells(256), model), 3)
    return found


def profile(model: Model, n: int) -> dict[str, float]:
    """Milliseconds on the device, by kernel, of one evaluation of n crystals; what torch itself launches is one line."""
    from torch.profiler import ProfilerActivity

    some = cells(n)
    kernels.evaluate(some, model, kernel="triton", device="cuda")
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        kernels.evaluate(some, model, kernel="triton", device="cuda")
    ours = ("images", "moments", "products", "network", "moment_slopes", "bond_slopes", "reactions", "crystal_sums")
    found = dict.fromkeys((*ours, "copies between host and device", "torch"), 0.0)
    for event in recorded.events():
        if str(event.device_type).endswith("CUDA"):
            name = event.name if event.name in ours else "torch"
            name = "copies between host and device" if "Memcpy" in event.name and "DtoD" not in event.name else name
            found[name] += event.time_range.elapsed_us() / 1e3
    return found


def operations(shape: Shape) -> dict[str, float]:
    """Additions and multiplications in the source: of moments and bond slopes per bond, of the others per centre."""
    from potentials.kernels.triton_source import source

    found = {}
    for text in source(shape).split("@triton.jit")[1:]:
        (name,) = re.findall(r"^\s*def (\w+)", text)
        text = re.sub(r"        else:\n( {12}.*\n)+", "", text)  # the branch that does not repel
        lines = [x for x in text.splitlines() if re.match(r"\s+(t\d+ = \S+ [-+*/] |[ms]\d+ \+= |v\d \+= )", x)]
        found[name] = float(sum(1 + ("+=" in x and "*" in x) for x in lines))
    return found


def floors(model: Model, bonds: float, work: float, copying: float) -> dict[str, Any]:
    """Microseconds per atom below which no kernel of this design can be, from operations per second and bytes per second.

    Arrays are read once and written once, in single precision; operations are those that change a result.
    """
    shape, n = model.shape, len(SPECIES)
    assert isinstance(shape, Shape)
    count, pairs = operations(shape), n * (n + 1) / 2
    moments, features, sums = n * shape.n_max * ((shape.l_max + 1) ** 2 - 1), shape.n_features(n), n * shape.n_pair
    units = model.members * (model.hidden + (0 if model.added is None else model.added.units))
    flops = {
        "moments": bonds * count["moments"],
        "products": pairs * count["products"],
        "network": 4 * features * units,
        "moment_slopes": n * n * count["moment_slopes"],
        "bond_slopes": bonds * count["bond_slopes"],
    }
    read_or_written = {
        "images": (12 + 8) * bonds + 8 * (8 * 14),
        "moments": 12 * bonds + 4 * (moments + sums),
        "products": 4 * (moments + pairs * shape.n_products),
        "network": 4 * 2 * features + 8 * model.members,
        "moment_slopes": 4 * (2 * moments + pairs * shape.n_products),
        "bond_slopes": (12 + 8) * bonds + 4 * (moments + sums) + 8 * (7 * n + 3 * 8),
    }
    return {
        "operations per atom": flops,
        "bytes per atom": read_or_written,
        "arithmetic, µs per atom": sum(flops.values()) / work * 1e6,
        "memory, µs per atom": sum(read_or_written.values()) / copying * 1e6,
    }


def reach_of_the_device() -> tuple[float, float]:
    """Operations per second of a product of matrices in single precision, bytes per second of a copy."""
    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.rand(8192, 8192, device="cuda")

    def timed(work: Callable[[], object]) -> float:
        def finished() -> None:
            work()
            torch.cuda.synchronize()

        return seconds(finished, 5)

    much = torch.empty(2**28, device="cuda")
    return 2 * 8192.0**3 / timed(lambda: a @ a), 2 * 4 * 2.0**28 / timed(much.clone)


def relaxations(library: Path, until: float) -> dict[str, dict[str, float]]:
    """Relaxed crystals per second by number that starts together, to 0.01 eV/Å and 0.1 GPa."""
    from potentials.library import Library
    from potentials.relax import relax
    from potentials.stratum import Stratum

    potential = Library.open(library).assemble(Stratum(SPECIES), device="cuda")
    found = {}
    for n in (64, 256, 1024, 4096, 16384):
        if time.perf_counter() > until:
            break
        inside = 0.0

        def evaluate(structures: Structures) -> Any:
            nonlocal inside
            start = time.perf_counter()
            prediction = potential.evaluate(structures)
            inside += time.perf_counter() - start
            return prediction

        starts = cells(n, rattle=0.5, scale=1.05)
        evaluate(starts)
        inside, start = 0.0, time.perf_counter()
        relaxed = relax(evaluate, starts)
        spent = time.perf_counter() - start
        found[str(n)] = {
            "crystals per second": n / spent,
            "share of the optimiser": 1 - inside / spent,
            "mean calls": float(relaxed.calls.mean()),
            "converged": relaxed.outcomes.count("converged") / n,
        }
        print(f"  {n:>6} at once: " + ", ".join(f"{k} {v:.4g}" for k, v in found[str(n)].items()), flush=True)
    return found


def n_bonds(structures: Structures, cutoff: float) -> float:
    """Neighbours of an atom, on average."""
    from potentials.kernels.neighbours import neighbours

    near = neighbours(structures, cutoff, torch.device("cuda"))
    return float(near.real.sum()) / len(structures.numbers)


def measure(model: Model, until: float, work: float, copying: float) -> dict[str, Any]:
    """One model: agreement, rates, peers, where the time goes, and the share of the floor."""
    off = agreement(model)
    print("  off by " + ", ".join(f"{v:.1e} ({k})" for k, v in off.items()))
    found = rates(model, until)
    largest = max(map(int, found))
    floor = floors(model, n_bonds(cells(256), model.shape.cutoff), work, copying)
    where, beside = profile(model, largest), peers(model)
    limits = [floor[f"{what}, µs per atom"] for what in ("arithmetic", "memory")]
    per_atom, on_device = 1e6 / (8 * found[str(largest)]), sum(where.values()) * 1e3 / (8 * largest)
    for name, ms in where.items():
        print(f"    {name:<32} {ms:8.2f} ms")
    print(f"  {per_atom:.3f} µs per atom, {on_device:.3f} of it on the device", end="; ")
    print("floors: arithmetic {:.4f}, memory {:.4f}".format(*limits))
    print("  peers, evaluations/s: " + ", ".join(f"{k} {v:,.0f}" for k, v in beside.items()))
    print(f"  best {max(found.values()):,.0f} evaluations/s, asked for {TARGET:,}")
    return {
        "agreement": off,
        "evaluations per second": found,
        "peers": beside,
        "milliseconds on the device": where,
        "floors": floor,
        "µs per atom": per_atom,
        "µs per atom on the device": on_device,
        "share of the floor reached": max(limits) / on_device if on_device else None,  # where the profiler says nothing
    }


def measured(minutes: float, library: Path | None) -> dict[str, Any]:
    begun = time.perf_counter()
    work, copying = reach_of_the_device()
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(),
        "host": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "triton", "numpy")},
        "operations per second": work,
        "bytes per second": copying,
        "models": {},
    }
    print(f"{result['device']}: {work / 1e12:.1f} Tflop/s, {copying / 1e12:.2f} TB/s")
    models = [(name, recipe, m) for name, recipe in recipes().items() for m in (1, recipe.members)]
    for k, (name, recipe, members) in enumerate(models):
        title = f"{name}, " + (f"committee of {members}" if members > 1 else "single")
        print(f"\n{title}: {recipe.shape}, hidden {recipe.hidden}, widened by {recipe.widened}")
        until = begun + 60 * minutes * 0.6 * (k + 1) / len(models)  # no larger batch is begun later
        result["models"][title] = measure(random_model(recipe, members), until, work, copying)
    if library is not None and (library / "library.json").exists():
        print(f"\nrelaxations with {library.name}")
        result["relaxations"] = relaxations(library, begun + 60 * minutes * 0.9)
    else:
        print("\nno relaxations: give a trained library of Cu, Pd, Ag with --library")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--library", type=Path, default=Path(__file__).resolve().parent / "cache" / "unep-default-100")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    if (reason := kernels.missing_triton("cuda")) is not None:
        print(f"nothing measured: {reason}")
        return
    torch.set_num_threads(1)
    chosen.out.write_text(json.dumps(measured(chosen.minutes, chosen.library), indent=1, ensure_ascii=False) + "\n")
    print(f"\nwritten to {chosen.out.name}")


if __name__ == "__main__":
    main()
