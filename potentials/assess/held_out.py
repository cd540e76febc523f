"""Which labelled crystals a library may be tested on."""

from __future__ import annotations

import numpy as np

from potentials.assess.results import AssessmentError
from potentials.dataset import HELD_OUT, Dataset
from potentials.library import Library
from potentials.stratum import Stratum


def held_out(
    library: Library, dataset: Dataset | None = None, system: Stratum | None = None, *, whole: bool = False
) -> Dataset:
    """Crystals of these elements that training leaves out, of `dataset` or, without one, of the library's own.

    Training leaves out about one family in eight, chosen by hash (`Dataset.held_out`), so that this holds for any file that
    the library was trained on. `whole` takes all crystals instead: of data that were never trained on. AssessmentError
    where nothing is left, or the library lacks an element.
    """
    data = dataset if dataset is not None else library.data()
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
