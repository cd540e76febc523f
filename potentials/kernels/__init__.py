"""The computational heart: energies, forces, stresses, features and their derivatives of many crystals.

`kernel` chooses the way: "compiled" (C++; the bits of a result depend on neither batch nor threads), "torch"
(any device, slower), or "auto": compiled where it was built and the processor can run it.
"""

from __future__ import annotations

from potentials.features import Descriptor
from potentials.kernels import compiled
from potentials.kernels.gupta import GuptaModel
from potentials.kernels.signature import ModelLike
from potentials.memory import halving, join_predictions
from potentials.structures import Floats, Prediction, Structures

__all__ = ["GuptaModel", "available", "evaluate", "features", "jacobians", "missing"]


def available() -> tuple[str, ...]:
    """The kernels this installation can run, the preferred one first."""
    return ("compiled", "torch") if compiled.missing() is None else ("torch",)


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
    if _chosen(kernel, device) == "torch":
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


def _chosen(kernel: str, device: str) -> str:
    if kernel not in ("auto", "compiled", "torch"):
        raise ValueError(f'`kernel` must be "auto", "compiled" or "torch", got "{kernel}"')
    if kernel == "auto":
        return available()[0] if device == "cpu" else "torch"
    if kernel == "compiled" and device != "cpu":
        raise ValueError(f'the compiled kernel runs on "cpu", not on "{device}"; write kernel="torch"')
    if kernel == "compiled" and (reason := compiled.missing()) is not None:
        raise RuntimeError(f'the compiled kernel cannot run: {reason}; write kernel="auto" or "torch"')
    return kernel
