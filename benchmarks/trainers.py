"""Levenberg-Marquardt against L-BFGS and AdamW: the same network, crystals, validation and start, labels of UNEP-v1.

    python benchmarks/trainers.py [--train 1500] [--seeds 0 1 2] [--strata Cu CuPd] [--times 5] [--quick]

The problem is that of `potentials train`: inputs in principal axes, weighted energies, forces and virials, an eighth of the
crystals validates. L-BFGS (scipy, 20 pairs) and AdamW (torch, one batch of crystals of equal composition a step, a cosine of
the rate from 1e-2, 3e-3 or 1e-3 to nothing) get `--times` the CPU time of Levenberg-Marquardt. Printed are CPU seconds, the
best validation error (the root of the weighted squares, over that of Levenberg-Marquardt), and the CPU seconds until an error no
more than a tenth above that of Levenberg-Marquardt. What looking at the validation costs is nobody's. JSON beside this file.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one core

import argparse
import contextlib
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from strata import CACHE, machine
from unep_data import make

from potentials.fit import Layout, Problem
from potentials.heads import Head
from potentials.levenberg import minimise
from potentials.library import Library
from potentials.recipe import RECIPES
from potentials.start import drawn_to, start
from potentials.stratum import Stratum
from potentials.structures import Floats
from potentials.train import decay_of, finish, fit_member, layout_of, plan, prepare, problem_of

HERE = Path(__file__).resolve().parent
RATES = (1e-2, 3e-3, 1e-3)
NEAR = 1.1


class Watch:
    """CPU seconds and validation errors of one fit."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.spent, self.last = problem, 0.0, time.process_time()
        self.trace: list[tuple[float, float]] = []

    def __call__(self, p: Floats) -> None:
        self.spent += time.process_time() - self.last
        self.trace.append((self.spent, math.sqrt(self.problem.costs(p)[1])))
        self.last = time.process_time()

    def best(self) -> float:
        return min(e for _, e in self.trace)

    def until(self, error: float) -> float | None:
        return next((t for t, e in self.trace if e <= error), None)


class Torch:
    """The same sum of squares in torch, with its gradient."""

    def __init__(self, problem: Problem, layout: Layout, prior: Floats, decay: Floats, heads: dict[int, Head]) -> None:
        self.layout, self.heads = layout, heads
        self.prior, self.decay = torch.as_tensor(prior), torch.as_tensor(decay)
        self.parts = []
        for batch, validating in problem.batches:
            rows = np.flatnonzero(~validating)
            if len(rows):
                centres = [
                    (c.element, c.blocks, *(torch.as_tensor(x[rows]) for x in (c.f, c.s, c.a[:, :, 0], c.z[..., 0, :])))
                    for c in batch.centres
                ]
                self.parts.append((centres, torch.as_tensor(batch.targets[rows]), torch.as_tensor(batch.weights[rows])))

    def loss(self, p: torch.Tensor, part: Any) -> torch.Tensor:
        centres, targets, weights = part
        energy, slopes = torch.zeros_like(targets[:, 0]), torch.zeros_like(targets[:, 1:])
        for z, blocks, f, s, a, dz in centres:
            w = torch.cat([self.layout.columns(p, b, z) for b in blocks], 1)
            a, dz = a + f @ w.T, dz + s @ w.T.to(dz.dtype)
            if self.layout.has_head(z):
                own, h = p[self.layout.place(z)], self.layout.hidden
                biases, outputs, shift = own[:h], own[h : 2 * h], own[-1]
            else:
                head = self.heads[z]
                biases, outputs, shift = torch.zeros(1), torch.as_tensor(head.outputs), head.shift
            t = torch.tanh(a + biases)
            energy = energy + (t @ outputs).sum(1) + shift * t.shape[1]
            slopes = slopes + (dz @ (outputs * (1 - t * t)).to(dz.dtype)[..., None])[..., 0].sum(1)
        missed = (torch.cat([energy[:, None], slopes], 1) - targets) * weights
        return (missed * missed).sum()

    def pull(self, p: torch.Tensor) -> torch.Tensor:
        return (self.decay * (p - self.prior) ** 2).sum()

    def whole(self, p: Floats) -> tuple[float, Floats]:
        """The sum and its gradient."""
        x = torch.tensor(p, requires_grad=True)
        total = self.pull(x)
        total.backward()
        value = float(total.detach())
        for part in self.parts:
            loss = self.loss(x, part)
            loss.backward()
            value += float(loss.detach())
        assert x.grad is not None
        return value, x.grad.numpy().copy()


class Spent(Exception):
    """The time is over."""


def lbfgs(ours: Torch, p: Floats, watch: Watch, seconds: float) -> None:
    def look(x: Floats) -> None:
        watch(x)
        if watch.spent > seconds:
            raise Spent

    settings = {"maxcor": 20, "maxiter": 10**6, "ftol": 0}
    with contextlib.suppress(Spent):
        minimize(ours.whole, p, jac=True, method="L-BFGS-B", callback=look, options=settings)


def adamw(ours: Torch, p: Floats, watch: Watch, seconds: float, rate: float) -> None:
    x = torch.tensor(p, requires_grad=True)
    optimiser = torch.optim.AdamW([x], lr=rate, weight_decay=0.0)  # the pull to the prior is in the sum
    rng = np.random.default_rng(0)
    while watch.spent < seconds:
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * min(watch.spent / seconds, 1.0)))
        for k in rng.permutation(len(ours.parts)):
            optimiser.zero_grad()
            (ours.loss(x, ours.parts[k]) + ours.pull(x) / len(ours.parts)).backward()
            optimiser.step()
        watch(x.detach().numpy().copy())


def compare(name: str, seed: int, n: int, times: float, report: Callable[[str], None]) -> dict[str, Any]:
    recipe = replace(RECIPES["quick"], members=1, fitting=replace(RECIPES["quick"].fitting, seed=seed))
    stratum = Stratum.parse(name)
    with tempfile.TemporaryDirectory() as directory:
        library = Library.create(Path(directory) / "lib", recipe)
        for below in (s for s in stratum.subsets() if s != stratum):
            tasks = plan(library, library.versions(), make(below.name, n, 500, 8, 0, CACHE / "unep")[0], below)
            library.add(finish(tasks, [fit_member(t) for t in tasks]))
        (task,) = plan(library, library.versions(), make(name, n, 500, 8, 0, CACHE / "unep")[0], stratum)
    torch.set_num_threads(1)
    prepared, bases, ground = prepare(task)
    layout = layout_of(task, bases)
    problem = problem_of(task, prepared, layout)
    p, prior, decay = start(task, layout, bases), drawn_to(task, layout, bases, ground), decay_of(task, layout)
    heads = {f.stratum.numbers[0]: Head.of(f, 0) for f in task.frozen if f.stratum.order == 1}
    ours = Torch(problem, layout, prior, decay, heads)
    value, gradient = ours.whole(p)
    np.testing.assert_allclose(value, problem.costs(p)[0] + decay @ (p - prior) ** 2, rtol=1e-4)
    np.testing.assert_allclose(
        gradient, 2 * (problem.normal(p)[1] + decay * (p - prior)), atol=1e-3 * np.abs(gradient).max()
    )
    found: dict[str, Any] = {"parameters": layout.size}
    watches = {"Levenberg-Marquardt": Watch(problem)}
    minimise(problem, p, prior, decay, task.iterations, watches["Levenberg-Marquardt"])
    seconds = times * watches["Levenberg-Marquardt"].spent
    watches["L-BFGS"] = Watch(problem)
    lbfgs(ours, p, watches["L-BFGS"], seconds)
    for rate in RATES:
        watches[f"AdamW {rate:g}"] = Watch(problem)
        adamw(ours, p, watches[f"AdamW {rate:g}"], seconds, rate)
    best = watches["Levenberg-Marquardt"].best()
    for method, watch in watches.items():
        near = watch.until(NEAR * best)
        found[method] = {"cpu": watch.spent, "error": watch.best() / best, "near": near}
        when = "never" if near is None else f"{near:.1f} s"
        report(
            f"{name} seed {seed}: {method:<20} {watch.spent:7.1f} CPU s, error {watch.best() / best:5.2f}, near {when}"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strata", nargs="+", default=["Cu", "CuPd"])
    parser.add_argument("--times", type=float, default=5.0)
    parser.add_argument("--quick", action="store_true", help="Cu, 200 crystals, one seed; not kept")
    asked = parser.parse_args()
    if asked.quick:
        compare("Cu", 0, 200, asked.times, print)
        return
    record: dict[str, Any] = {**machine(), "train": asked.train, "times": asked.times, "fits": {}}
    for name in asked.strata:
        for seed in asked.seeds:
            record["fits"][f"{name}-{seed}"] = compare(
                name, seed, asked.train, asked.times, lambda x: print(x, flush=True)
            )
            (HERE / "trainers.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
