"""Which labelled crystals a library may be tested on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase.data import chemical_symbols

from potentials.assess.results import AssessmentError
from potentials.dataset import HELD_OUT, Dataset, first_in_each_place
from potentials.library import Library
from potentials.stratum import Stratum


def held_out(
    library: Library, dataset: Dataset | None = None, system: Stratum | None = None, *, whole: bool = False
) -> Dataset:
    """Crystals of these elements that training leaves out, of `dataset` or, without one, of the library's own.

    Training leaves out about one family in eight, chosen by hash (`Dataset.held_out`). A crystal of `dataset` that the library
    keeps too is on the side where it is there, whatever the file says of families and methods. Energies of a method that the
    library has a shift for are brought to its scale. `whole` takes all crystals instead: of data that were never trained on.
    AssessmentError where nothing is left, or the library lacks an element.
    """
    data = _as_kept(library, dataset) if dataset is not None else library.data()
    known = {s.numbers[0] for s in library.strata() if s.order == 1}
    wanted = set(system.numbers) if system is not None else known | set(data.structures.numbers.tolist())
    strata = data.strata()
    chosen = [c for c, s in enumerate(strata) if set(s.numbers) <= wanted]
    if missing := sorted({z for c in chosen for z in strata[c].numbers} - known):
        names = ", ".join(Stratum((z,)).name for z in missing)
        raise AssessmentError(
            f"crystals of {names}, of which {library.path} has no stratum; train it, or name a system"
        )
    some = data.select(np.array(chosen, dtype=np.int64))
    found = some if whole else some.held_out()
    if not len(found):
        of = f"of {system.name}" if system is not None else "in all"
        rule = "" if whole else f"; one family in {HELD_OUT} is held out, and whole files are taken on demand"
        raise AssessmentError(f"no held-out crystals among {len(chosen)} labelled ones {of}{rule}")
    return found


def _as_kept(library: Library, data: Dataset) -> Dataset:
    """The crystals of a file, in the families and on the scale of those that the library keeps."""
    own = library.data_as_labelled()
    if not len(own):
        return data
    n, hashes = len(own), library.data().hashes()  # by which crystals without a family are held out
    firsts = first_in_each_place(own.followed_by(data))[n:]
    families = [
        (own.families[f] or hashes[f]) if f < n else family for f, family in zip(firsts, data.families, strict=True)
    ]
    energies, offsets = data.labels.energies.copy(), data.structures.offsets
    for c, method in enumerate(data.methods):
        if shift := library.methods.get(method, {}).get("shift"):
            energies[c] += sum(shift[chemical_symbols[z]] for z in data.structures.numbers[offsets[c] : offsets[c + 1]])
    return replace(data, families=tuple(families), labels=replace(data.labels, energies=energies))


def foreign(library: Library, data: Dataset) -> list[str]:
    """Methods of these crystals that are not the library's own, and that it has no shift for: their energies may be apart."""
    known = library.methods
    own = next(iter(known), "")
    named = {m for m in data.methods if m and m != own and not known.get(m, {}).get("shift")}
    return sorted(named) if own else []
