"""Labels out of any file that holds them, each with where it comes from."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from lzma import LZMAError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase import Atoms
from ase.db import connect
from ase.io import read
from ase.io.formats import UnknownFileTypeError, filetype

from potentials.labelled import espresso, vasp
from potentials.labelled.archives import content, unpacked
from potentials.labelled.identity import read_identities
from potentials.labelled.images import Refused, entry, fault, to_dataset
from potentials.labelled.record import DataError, Dataset
from potentials.labelled.run import Run

Read = Callable[[bytes, Path], Run]  # of the bytes of a file, unpacked, and where it lies

# formats whose files say more than labels: the name that ASE has for them, and who reads the rest
RUNS: dict[str, Read] = {
    "vasp-xml": lambda data, path: vasp.vasprun(data, path.parent),
    "vasp-out": lambda data, _: vasp.outcar(data.decode("utf-8", "replace")),
    "espresso-out": lambda data, _: espresso.pw_output(data.decode("utf-8", "replace")),
}
# files of crystals that need not have anything to do with each other; all others hold the steps of one relaxation
COLLECTIONS = ("extxyz", "xyz", "db", "json")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file brings."""

    path: Path
    digits: str  # the first twelve of its SHA-256
    dataset: Dataset
    refused: list[Refused]
    run: Run | None  # of a DFT program whose output says how it was run
    identities: Mapping[str, Any] = field(
        default_factory=dict
    )  # what stands behind the names of methods, where it is known


def read_labels(path: str | Path, method: str = "") -> Reading:
    """Every ionic step of a vasprun.xml, OUTCAR or output of pw.x, every crystal of another file that ASE reads.

    Energies are those that the forces are the gradient of. `method` names who labelled the crystals that do not say it.
    """
    path = Path(path)
    try:
        data = content(path)
    except (OSError, EOFError, ValueError, LZMAError) as error:
        raise DataError(f"{path} cannot be read: {error}".splitlines()[0]) from None
    kind = _format(path, data)
    try:
        run = RUNS[kind](data, path) if kind in RUNS else None
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path} cannot be read as {kind}: {error}".splitlines()[0]) from None
    if run is None:
        with unpacked(path) as copy:
            images = _images(path, copy, kind, None)
    else:  # away from a POSCAR beside it, and unpacked: ASE's reader of OUTCAR takes no archives but gzip's
        with TemporaryDirectory() as folder:
            copy = Path(folder) / "output"
            copy.write_bytes(data)
            images = _images(path, copy, kind, run)
    kept, steps, refused = [], [], []
    for n, image in enumerate(images):
        atoms = image if isinstance(image, Atoms) else None
        step = run.steps[n] if run is not None and n < len(run.steps) else None
        reason = "" if step is None else step.fault
        if step is not None and step.energy is not None and atoms is not None and atoms.calc is not None:
            atoms.calc.results |= {"energy": step.energy, "free_energy": step.energy}
        reason = reason or (fault(atoms) if atoms is not None else f"cannot be read: {image}")
        reason = reason or ("" if method or run is not None or entry(atoms, "method") else NO_METHOD)
        if reason:
            refused.append(Refused(n + 1, "" if atoms is None else atoms.get_chemical_formula(), reason))
        else:
            kept.append(atoms)
            steps.append(n)
    dataset = to_dataset(kept, method or (run.method.name if run is not None else ""))
    digits = hashlib.sha256(data).hexdigest()[:12]
    family = "" if kind in COLLECTIONS else f"{kind}:{digits}"
    seconds = dataset.seconds.copy()
    for k, n in enumerate(steps):
        if run is not None and n < len(run.steps):
            seconds[k] = run.steps[n].seconds
    dataset = replace(
        dataset,
        families=tuple(f or family for f in dataset.families),
        seconds=seconds,
        sources=tuple(f"{digits}:{n + 1}" for n in steps),
    )
    return Reading(path, digits, dataset, refused, run, read_identities(path) if kind in COLLECTIONS else {})


NO_METHOD = "does not say who labelled it; give it a `method`, or use --method NAME"


def _format(path: Path, data: bytes) -> str:
    """ASE's name of the format. Outputs of VASP and pw.x go by what is in them: their names are anything."""
    head = data[:4000]
    if b"<modeling>" in head:
        return "vasp-xml"
    if b"POTCAR:" in head and b"vasp." in head:
        return "vasp-out"
    if b"Program PWSCF" in head:
        return "espresso-out"
    try:
        return str(filetype(str(path)))
    except UnknownFileTypeError:
        raise DataError(
            f"{path} has a format that is not known; give vasprun.xml, OUTCAR, output of pw.x, extxyz, db"
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever its sniffers raise
        raise DataError(f"{path} cannot be read: {_line(error)}") from None


def _images(path: Path, copy: Path, kind: str, run: Run | None) -> list[Atoms | str]:
    """The crystals in `copy`, or a text that says why one cannot be read; a step that the reader leaves out is cut off."""
    options: dict[str, Any] = {"results_required": False} if kind == "espresso-out" else {}

    def ask(index: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind in ("db", "json"):  # the reader behind `read` leaves out the key-value pairs
                with connect(copy) as base:
                    return [row.toatoms(add_additional_information=True) for row in base.select()]
            return read(copy, index=index, format=kind, do_not_split_by_at_sign=True, **options)

    chosen = list(run.images) or list(range(len(run.steps))) if run is not None else []
    try:
        found = list(ask(":"))
    except Exception as error:  # noqa: BLE001 - the readers raise whatever the first odd byte leads to
        if run is None:
            raise DataError(f"{path} cannot be read as {kind}: {_line(error)}") from None
        found = []
        for n in range(max(chosen) + 1 if chosen else 0):  # which of the steps is it?
            try:
                found += list(ask(slice(n, n + 1))) or ["not complete"]
            except Exception as single:  # noqa: BLE001 - as above
                found.append(_line(single))
    if not (found if run is None else chosen):
        raise DataError(f"{path} holds no crystals; is it complete?")
    if run is None:
        return found
    return [found[n] if n < len(found) else "not complete" for n in chosen]


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
