"""The computational heart: energies, forces, stresses, features and their derivatives of many crystals.

`kernel` chooses the way: "compiled" (C++; the bits of a result depend on neither batch nor threads), "torch"
(any device, slower), "triton" (evaluations on a GPU, features in single precision; bits do not depend on the batch),
"triton-double", or "auto": on the processor compiled where it was built and the processor can run it; on a GPU triton where
it is installed and has kernels for the model, else torch.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from potentials.features import Descriptor, Shape
from potentials.kernels import compiled
from potentials.kernels.gupta import GuptaModel
from potentials.kernels.signature import ModelLike
from potentials.memory import halving, join_predictions
from potentials.structures import Floats, Prediction, Structures

__all__ = ["GuptaModel", "available", "evaluate", "features", "jacobians", "missing", "missing_triton"]


def available() -> tuple[str, ...]:
    """The kernels this installation can run, the preferred one first."""
    return ("compiled", "torch") if compiled.missing() is None else ("torch",)


def missing_triton(device: str = "cuda") -> str | None:
    """Why the kernels for GPUs cannot run on `device`; None if they can."""
    if find_spec("triton") is None:
        return 'triton is not installed (pip install "outcrop[gpu]")'
    if device == "cpu":
        return (
            None
            if os.environ.get("TRITON_INTERPRET") == "1"
            else "they run on a GPU, or interpreted with TRITON_INTERPRET=1"
        )
    import torch  # slow to import, and not needed otherwise

    return None if torch.cuda.is_available() else "torch sees no CUDA device"


def missing() -> str | None:
    """Why the compiled kernel cannot run here; None if it can."""
    return compiled.missing()


def evaluate(
    structures: Structures,
    model: ModelLike | GuptaModel,
    n_threads: int = 1,
    kernel: str = "auto",
    device: str = "cpu",
) -> Prediction:
    """What `model` says of every crystal; NaN where a crystal cannot be evaluated (collapsed, not finite).

    Crystals that do not fit into memory together are evaluated in halves.
    """
    chosen = _chosen(kernel, device, model)
    if chosen.startswith("triton"):
        from potentials.kernels import triton_path  # slow to import, and not needed otherwise

        def work(part: Structures) -> Prediction:
            return triton_path.evaluate(part, model, device, double=chosen == "triton-double")

    elif chosen == "torch":
        from potentials.kernels import torch_path  # slow to import, and not needed otherwise

        def work(part: Structures) -> Prediction:
            return torch_path.evaluate(part, model, device)
    else:

        def work(part: Structures) -> Prediction:
            return compiled.evaluate(part, model, n_threads)

    return halving(work, join_predictions, structures)


def features(
    structures: Structures,
    shape: Descriptor,
    species: tuple[int, ...],
    n_threads: int = 1,
    kernel: str = "auto",
    device: str = "cpu",
) -> list[Floats]:
    """Per crystal (n_c, D): the features of every atom, in the order of `shape.blocks`."""
    if _chosen(kernel, device) == "torch":
        from potentials.kernels import torch_path  # slow to import, and not needed otherwise

        return torch_path.features(structures, shape, species, device)
    return compiled.features(structures, shape, species, n_threads)


def jacobians(
    structures: Structures,
    shape: Descriptor,
    species: tuple[int, ...],
    n_threads: int = 1,
    kernel: str = "auto",
    device: str = "cpu",
) -> list[tuple[Floats, Floats]]:
    """Per crystal: features (n_c, D) and their derivatives (n_c, D, 3 n_c + 9) by positions (Å) and strain.

    The last nine columns are the strain e, row-major, of x -> x(1 + e) for positions and cell.
    """
    if _chosen(kernel, device) == "torch":
        from potentials.kernels import torch_path  # slow to import, and not needed otherwise

        return torch_path.jacobians(structures, shape, species, device)
    return compiled.jacobians(structures, shape, species, n_threads)


def _chosen(kernel: str, device: str, model: ModelLike | GuptaModel | None = None) -> str:
    """The way that is taken; without a model it is about features, which the kernels for GPUs keep to themselves."""
    known = ("auto", "compiled", "torch", *(("triton", "triton-double") if model is not None else ()))
    if kernel not in known:
        names = ", ".join(f'"{k}"' for k in known[:-1])
        raise ValueError(f'`kernel` must be {names} or "{known[-1]}", got "{kernel}"')
    if kernel == "auto":
        if device == "cpu":
            return available()[0]
        return "triton" if model is not None and missing_triton(device) is None and _suits(model) else "torch"
    if kernel == "compiled" and device != "cpu":
        raise ValueError(f'the compiled kernel runs on "cpu", not on "{device}"; write kernel="torch"')
    if kernel == "compiled" and (reason := compiled.missing()) is not None:
        raise RuntimeError(f'the compiled kernel cannot run: {reason}; write kernel="auto" or "torch"')
    if model is not None and kernel.startswith("triton"):
        if (reason := missing_triton(device)) is not None:
            raise RuntimeError(f'the triton kernels cannot run on "{device}": {reason}; write kernel="auto" or "torch"')
        if not _suits(model):
            raise ValueError(
                f'kernel="{kernel}" needs the density and networks of one hidden layer; write kernel="torch"'
            )
    return kernel


def _suits(model: ModelLike | GuptaModel) -> bool:
    """Whether the kernels for GPUs can evaluate the model: density, one hidden layer, no hard cores."""
    if isinstance(model, GuptaModel):
        return False
    return isinstance(model.shape, Shape) and model.second_weights is None and model.core_energy == 0.0
