"""Datasets as extxyz: exact when written, and any extxyz file when read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase.io import read

from potentials.labelled.archives import packed, unpacked
from potentials.labelled.extxyz import Entry, frame, frames
from potentials.labelled.images import Refused, fault, to_dataset
from potentials.labelled.record import DataError, Dataset
from potentials.structures import Labels, Structures


def write_dataset(path: str | Path, dataset: Dataset) -> None:
    """extxyz, to the last bit: energy, forces, stress and, per crystal, family, method, weight, seconds, source, provenance.

    A name that ends in .gz, .bz2 or .xz makes it an archive.
    """
    Path(path).write_bytes(packed(render(dataset).encode(), Path(path).name))


def read_dataset(path: str | Path) -> Dataset:
    """The labelled crystals of an extxyz file; DataError in one line when it is not one."""
    try:
        with unpacked(Path(path)) as file:
            images = read(file, index=":", format="extxyz", do_not_split_by_at_sign=True)
    except Exception as error:  # noqa: BLE001 - the reader raises whatever the first odd byte leads to
        raise DataError(f"{path} cannot be read as extxyz: {type(error).__name__}: {error}".splitlines()[0]) from None
    if not images:
        raise DataError(f"{path} holds no crystals")
    for n, atoms in enumerate(images):
        if reason := fault(atoms):
            raise DataError(f"{path}: {Refused(n + 1, atoms.get_chemical_formula(), reason)}")
    return to_dataset(images, "")


def render(dataset: Dataset) -> str:
    """The text of the file."""
    s, labels = dataset.structures, dataset.labels
    parts = []
    for c in range(len(dataset)):
        atoms = slice(s.offsets[c], s.offsets[c + 1])
        entries: dict[str, Entry] = {"energy": float(labels.energies[c])}
        if np.isfinite(labels.stresses[c]).all():
            entries["stress"] = labels.stresses[c]
        entries |= {"weight": float(dataset.weights[c]), "seconds": float(dataset.seconds[c])}
        texts = {"family": dataset.families, "method": dataset.methods, "source": dataset.sources}
        for name, values in (texts | {"provenance": dataset.provenance}).items():
            if values[c]:
                entries[name] = values[c]
        columns = {"forces": labels.forces[atoms]}
        parts.append(frame(s.numbers[atoms], s.positions[atoms], s.cells[c], s.periodic[c], columns, entries))
    return "".join(parts)


def parse(text: str) -> Dataset:
    """The dataset that `render` wrote, to the last bit; ValueError, KeyError or IndexError where it did not."""
    found = list(frames(text))
    sizes = [len(f.numbers) for f in found]
    structures = Structures(
        np.concatenate([f.numbers for f in found]),
        np.concatenate([f.positions for f in found]),
        np.array([f.cell for f in found]),
        np.array([f.periodic for f in found]),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )
    labels = Labels(
        np.array([float(f.entries["energy"]) for f in found]),
        np.concatenate([f.columns["forces"] for f in found]),
        np.array(
            [f.floats("stress").reshape(3, 3) if "stress" in f.entries else np.full((3, 3), np.nan) for f in found]
        ),
    )

    def texts(name: str) -> tuple[str, ...]:
        return tuple(f.entries.get(name, "") for f in found)

    def floats(name: str) -> tuple[float, ...]:
        return tuple(float(f.entries[name]) for f in found)

    weights, seconds = np.array(floats("weight")), np.array(floats("seconds"))
    origins = texts("source"), texts("provenance")
    return Dataset(structures, labels, texts("family"), texts("method"), weights, seconds, *origins)
