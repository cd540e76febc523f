"""Peers of `speed.py` that live in environments of their own. Prints one line of JSON; not to be run by hand.

    python speed_peers.py (mace | torch-sim | pypolymlp) JOB.json

JOB.json: files of crystals, how often to repeat, and for torch-sim a library of this project. Nothing of this project is needed
but for torch-sim, which runs our torch kernel behind its model interface: the repository itself is then put on the path.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # e3nn 0.4.4 loads a file of its own that torch now refuses

import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read

Job = dict[str, Any]


def mace(job: Job) -> Job:
    """MACE with random weights, 32 scalar channels, two layers: µs per atom, neighbours included, all cells in one batch."""
    import torch
    from e3nn import o3
    from mace import data, modules, tools
    from mace.tools import torch_geometric

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    cells = read(job["cells"], ":")
    table = tools.AtomicNumberTable(sorted({int(z) for a in cells for z in a.numbers}))
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=job["cutoff"], num_bessel=8, num_polynomial_cutoff=5, max_ell=3, num_interactions=2, correlation=3,
        interaction_cls=block, interaction_cls_first=block, num_elements=len(table), hidden_irreps=o3.Irreps("32x0e"),
        MLP_irreps=o3.Irreps("16x0e"), gate=torch.nn.functional.silu, atomic_energies=np.zeros(len(table)),
        avg_num_neighbors=60.0, atomic_numbers=table.zs, atomic_inter_scale=1.0, atomic_inter_shift=0.0,
    )  # fmt: skip

    def work() -> None:
        graphs = [
            data.AtomicData.from_config(data.config_from_atoms(a), z_table=table, cutoff=job["cutoff"]) for a in cells
        ]
        (batch,) = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False)
        model(batch.to_dict(), compute_stress=True)

    n_atoms = sum(len(a) for a in cells)
    return {"us_per_atom": 1e6 * _median(work, job["repeats"]) / n_atoms, "version": version("mace-torch")}


def pypolymlp(job: Job) -> Job:
    """Polynomial potentials of two sizes: µs per atom. The fit is to a few crystals: only the cost is looked at."""
    import pypolymlp_peer as peer

    train, cells = read(job["train"], f":{job['n_train']}"), read(job["cells"], ":")
    elements, found = job["elements"], {}
    for name in ("pair", "third"):
        options = {"elements": elements, "cutoff": job["cutoff"], "atomic_energy": [0.0] * len(elements)}
        (model,) = peer._fit({**peer.SETTINGS[name], **options}, elements, train, (-1.0, -1.0, 1))
        properties = peer._properties(model)
        structures = [peer._structure(elements, a) for a in cells]
        seconds = _median(lambda p=properties, s=structures: p.eval_multiple(s), job["repeats"])
        found[name] = 1e6 * seconds / sum(len(a) for a in cells)
    return {"us_per_atom": found, "version": version("pypolymlp")}


def torch_sim(job: Job) -> Job:
    """Relaxations with our potential in torch behind torch-sim's interface: FIRE of positions and cell, our test at the end."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import torch
    import torch_sim as ts
    from torch_sim.models.interface import ModelInterface

    from potentials import kernels
    from potentials.library import Library
    from potentials.stratum import Stratum
    from potentials.structures import Structures

    torch.set_num_threads(1)
    crystals = read(job["cells"], ":")
    model = Library.open(job["library"]).assemble(Stratum.parse(job["system"])).model
    if job["single"]:
        model = model.member(0)
    calls = 0

    class Ours(ModelInterface):
        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype = torch.device("cpu"), torch.float64
            self._compute_stress = self._compute_forces = True

        def forward(self, state: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
            nonlocal calls
            counts = torch.bincount(state.system_idx)
            calls += len(counts)
            structures = Structures(
                state.atomic_numbers.numpy().astype(np.int64),
                state.positions.detach().numpy(),
                state.row_vector_cell.detach().contiguous().numpy(),
                np.ones((len(counts), 3), dtype=bool),
                np.concatenate([[0], np.cumsum(counts.numpy())]).astype(np.int64),
            )
            p = kernels.evaluate(structures, model, kernel="torch")
            arrays = {"energy": p.energies, "forces": p.forces, "stress": p.stresses}
            return {name: torch.as_tensor(a) for name, a in arrays.items()}

    def converged(state: Any, last_energy: Any) -> torch.Tensor:
        force = torch.zeros(state.n_systems, dtype=torch.float64)
        force.scatter_reduce_(0, state.system_idx, state.forces.norm(dim=1), "amax")
        stress = state.stress.abs().amax(dim=(1, 2))
        return (force < job["fmax"]) & (stress < job["smax"])

    single = time.process_time()
    kernels.evaluate(Structures.from_ase(crystals), model, kernel="torch")
    evaluation = (time.process_time() - single) / len(crystals)
    start = time.process_time()
    batcher = ts.autobatching.InFlightAutoBatcher(Ours(), max_memory_scaler=1e9, memory_scales_with="n_atoms")
    final = ts.optimize(
        system=crystals, model=Ours(), optimizer=ts.optimizers.frechet_cell_fire, convergence_fn=converged,
        autobatcher=batcher, max_steps=job["most"], steps_between_swaps=1,
    )  # fmt: skip
    seconds = time.process_time() - start
    done = converged(final, None)
    sizes = torch.bincount(final.system_idx)
    return {
        "seconds": seconds,
        "calls": calls / len(crystals),
        "ms_per_call_in_batch": 1e3 * evaluation,
        "converged": int(done.sum()),
        "energies": (final.energy / sizes).tolist(),
        "version": version("torch-sim-atomistic"),
    }


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return float(np.median(spent))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    peers = {"mace": mace, "torch-sim": torch_sim, "pypolymlp": pypolymlp}
    print(json.dumps(peers[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))))
