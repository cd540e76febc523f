"""Errors of energies, forces and stresses against labels, by stratum."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from potentials.assess.results import ErrorSummary, Parity
from potentials.dataset import Dataset
from potentials.relax import Evaluate
from potentials.structures import Floats
from potentials.units import GPA_PER_EV_PER_A3

WORST = 0.05  # of the crystals are left out of the trimmed error
KINDS = {"energy": "eV/atom", "force": "eV/Å", "stress": "GPa"}


def errors(evaluate: Evaluate, dataset: Dataset) -> tuple[list[ErrorSummary], list[Parity]]:
    """Of every stratum in the data, canonical order, then of all crystals together where there are several strata.

    Stresses count where the label has one. A crystal without finite prediction is counted, and in none of the figures.
    """
    strata = dataset.strata()
    names = {
        s.name: [c for c, t in enumerate(strata) if t == s] for s in sorted(set(strata), key=lambda s: s.sort_key())
    }
    said = evaluate(dataset.structures)
    labels, sizes = dataset.labels, dataset.structures.sizes
    parts = [slice(a, b) for a, b in pairwise(dataset.structures.offsets.tolist())]
    pairs: dict[str, list[tuple[Floats, Floats]]] = {
        "energy": [(labels.energies[[c]] / n, said.energies[[c]] / n) for c, n in enumerate(sizes)],
        "force": [(labels.forces[p].ravel(), said.forces[p].ravel()) for p in parts],
        "stress": [
            (GPA_PER_EV_PER_A3 * labels.stresses[c].ravel(), GPA_PER_EV_PER_A3 * said.stresses[c].ravel())
            for c in range(len(sizes))
        ],
    }
    summaries, parity = [], []
    groups = names if len(names) == 1 else {**names, "all": list(range(len(sizes)))}
    for name, chosen in groups.items():
        for kind, unit in KINDS.items():
            known = [pairs[kind][c] for c in chosen if np.isfinite(pairs[kind][c][0]).all()]
            finite = [p for p in known if np.isfinite(p[1]).all()]
            if known:
                summaries.append(_summary(name, kind, finite, len(known) - len(finite)))
            if finite and name != "all":
                given, found = (np.concatenate([p[k] for p in finite]).tolist() for k in (0, 1))
                parity.append(Parity(name, kind, unit, given, found))
    return summaries, parity


def _summary(stratum: str, kind: str, pairs: Sequence[tuple[Floats, Floats]], n_failed: int) -> ErrorSummary:
    if not pairs:
        return ErrorSummary(stratum, kind, KINDS[kind], 0, np.nan, np.nan, np.nan, np.nan, n_failed)
    missed = [found - given for given, found in pairs]
    together = np.abs(np.concatenate(missed))
    order = np.argsort([np.mean(m**2) for m in missed])
    best = np.concatenate([missed[c] for c in order[: len(missed) - int(WORST * len(missed))]])
    return ErrorSummary(
        stratum=stratum,
        kind=kind,
        unit=KINDS[kind],
        n_crystals=len(pairs),
        rmse=float(np.sqrt(np.mean(together**2))),
        mae=float(together.mean()),
        median=float(np.median(together)),
        trimmed=float(np.sqrt(np.mean(best**2))),
        n_failed=n_failed,
    )
