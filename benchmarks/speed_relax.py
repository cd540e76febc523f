"""Relaxations: rate, calls, minima, and the peers that relax one by one or in torch. See `speed.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from descents import Lbfgs
from optimisers import compare, in_place, one_by_one, per_atom, timed
from relax_published import MODELS, measure
from speed_timing import Report, in_turn, per_round

from evo.settings import SearchSection
from potentials.batch import Batch
from potentials.potential import Potential
from potentials.structures import Structures

PEER = "ASE LBFGS, alpha 10, sqrt(N)"


def rates(report: Report, quoted: Mapping[str, Potential], crystals: list[Atoms]) -> dict[str, dict[str, Any]]:
    """Line 3: crystals per second and core, calls, outcomes, minima against L-BFGS; what the peers are compared with."""
    starts, found = Structures.from_ase(crystals), {}
    for name, potential in quoted.items():
        runs = [timed(potential, starts) for _ in range(1 if report.quick else 3)]
        relaxed = runs[0][0]
        seconds, inside = (float(np.median([r[k] for r in runs])) for k in (1, 2))
        least = 100.0 if "single" in name else 75.0
        report.add("3", f"relaxed per second and core, {name}", len(crystals) / seconds, "crystals/s", least=least)
        report.add("3", f"  mean calls, {name}", relaxed.calls.mean(), "calls", most=45.0)
        report.add("3", f"  median calls, {name}", float(np.median(relaxed.calls)), "calls")
        report.add("3", f"  share of the relaxer's own work, {name}", 1 - inside / seconds, "")
        reasons = {o: relaxed.outcomes.count(o) for o in sorted(set(relaxed.outcomes))}
        share = relaxed.outcomes.count("converged") / len(crystals)
        report.add("3", f"  converged, {name}", share, "", least=0.95, note=str(reasons))
        energies = per_atom(relaxed)
        with in_place(Lbfgs, Batch):
            other, _, _ = timed(potential, starts)
        d = compare(energies, per_atom(other))
        note = f"+- {d['error']:.1f}; {d['lower']} lower, {d['alike']} alike, {d['higher']} higher"
        what = f"  minima above those of L-BFGS, {name}"
        report.add("3", what, d["mean"], "meV/atom", most=round(2 * d["error"], 2), note=note)
        found[name] = {
            "seconds": seconds / len(crystals),
            "inside": inside / len(crystals),
            "calls": float(relaxed.calls.mean()),
            "energies": energies,
        }
    return found


def as_campaigns_do(report: Report, quoted: Mapping[str, Potential], crystals: list[Atoms]) -> None:
    """Line 3: the same crystals in batches of one chunk."""
    size = SearchSection().chunk_size
    for name in ("library, committee of 4", "campaign, committee of 4"):
        seconds = []
        for _ in range(1 if report.quick else 3):
            parts = [
                timed(quoted[name], Structures.from_ase(crystals[k : k + size])) for k in range(0, len(crystals), size)
            ]
            seconds.append(sum(part[1] for part in parts))
        rate = len(crystals) / float(np.median(seconds))
        report.add("3", f"relaxed in chunks of {size}, {name}", rate, "crystals/s", least=75.0)


def one_after_the_other(
    report: Report, quoted: Mapping[str, Potential], crystals: list[Atoms], ours: Mapping[str, dict[str, Any]]
) -> None:
    """Line 3: ASE's best on our calculator, and what makes the difference."""
    n = 3 if report.quick else 10
    for name in ("library, single", "campaign, committee of 4"):
        potential, mine = quoted[name], ours[name]
        calls, energies, seconds = one_by_one(potential, crystals[:n], PEER)
        alone = Structures.from_ase(crystals[:1])
        kernel = in_turn({"": per_round(lambda p=potential, s=alone: p.evaluate(s), 50)}, 9)[""] / 50
        each, mean = seconds / n, float(np.mean(calls))
        # per call: kernel and all else; ours in a batch
        theirs = each / mean
        own, own_kernel = mine["seconds"] / mine["calls"], mine["inside"] / mine["calls"]
        report.add("3", f"ASE one by one / ours, {name}", each / mine["seconds"], "times", least=20.0, note=PEER)
        report.add("3", f"  of it: calls, {name}", mean / mine["calls"], "times", note=f"{mean:.0f} calls")
        report.add("3", f"  of it: time per call, {name}", theirs / own, "times")
        report.add("3", f"    ASE and its filter, {name}", 1e6 * (theirs - kernel), "µs/call")
        report.add("3", f"    kernel, one cell alone, {name}", 1e6 * kernel, "µs/call")
        report.add("3", f"    our optimiser, {name}", 1e6 * (own - own_kernel), "µs/call")
        report.add("3", f"    kernel, in the batch, {name}", 1e6 * own_kernel, "µs/call")
        d = compare(mine["energies"][:n], np.array(energies))
        note = f"{d['pairs']} pairs: {d['lower']} lower, {d['alike']} alike, {d['higher']} higher"
        report.add("3", f"  minima above those of ASE, {name}", d["mean"], "meV/atom", note=note)


def torch_sim(report: Report, found: dict[str, Any], name: str, mine: Mapping[str, Any], n: int) -> None:
    """Line 3: what `speed_peers.torch_sim` measured, beside ours of the same potential."""
    each, share = found["seconds"] / n, found["converged"] / n
    label = f"torch-sim {found['version']}, FIRE, our potential in torch, {name}"
    note = f"{n} cells at once, {found['calls']:.0f} calls, {share:.0%} converged"
    report.add("3", f"{label} / ours", each / mine["seconds"], "times", least=5.0, note=note)
    batch = 1e-3 * found["ms_per_call_in_batch"]
    report.add("3", "  of it: calls", found["calls"] / mine["calls"], "times")
    report.add("3", "  of it: kernel", batch / (mine["inside"] / mine["calls"]), "times", note="torch / compiled")
    d = compare(mine["energies"][:n], np.array(found["energies"]))
    note = f"{d['pairs']} pairs: {d['lower']} lower, {d['alike']} alike, {d['higher']} higher"
    report.add("3", "  our minima above those of torch-sim", d["mean"], "meV/atom", note=note)


def published(report: Report) -> None:
    """Line 4: the network of 2017 on random 6-atom cells."""
    if not (MODELS / "nn_CuPdAg_d3_vp").exists():
        report.absent("4", "network of Cu-Pd-Ag of 2017", "no ../shared/maise/models/nn_CuPdAg_d3_vp")
        return
    found = measure(20 if report.quick else 100)
    note = f"{found.calls:.0f} calls, {found.outcomes}; MAISE takes 11.5"
    report.add("4", "published network, Cu2Pd2Ag2 from random starts", found.seconds, "CPU s", most=0.08, note=note)
