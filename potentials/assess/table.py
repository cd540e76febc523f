"""An assessment as lines of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from potentials.assess.results import Assessment, Compared, Deviation, ErrorSummary

TITLES = {
    "lattice": "Lattices of the elements",
    "eos": "Equations of state (third-order Birch-Murnaghan)",
    "elastic": "Elastic constants",
    "vacancy": "Vacancy formation energies",
    "surface": "Surface energies",
    "stacking-fault": "Intrinsic stacking faults",
    "formation": "Formation energies of ordered phases",
    "phonons": "Phonon frequencies: lowest and highest of all, and modes at high-symmetry points",
    "stability": "Energy that a disturbed prototype loses (0: it is a minimum)",
}
SHOWN = ("fcc", "bcc")  # phonons of these are listed mode by mode
DIGITS = {"meV/atom": 2, "mJ/m²": 1, "GPa": 1, "eV/atom": 4, "%": 2}


def lines(assessment: Assessment) -> list[str]:
    """Errors first, then one table for each property, deviations and costs."""
    result = _errors(assessment.errors)
    properties = list(dict.fromkeys(row.topic for row in assessment.compared))
    for name in properties:
        result += ["", TITLES[name], *_rows([row for row in assessment.of(name) if _shown(row)])]
        result += _deviations([row for row in assessment.deviations if row.topic == name])
    cost = assessment.cost
    if "reference_calls" in cost:
        result += [
            "",
            f"reference {assessment.reference}: {cost['reference_calls']:.0f} calls now, {cost['reference_seconds']:.1f} CPU s; "
            f"{cost['reference_answers']:.0f} answers known, {cost['reference_seconds_in_all']:.1f} CPU s in all",
        ]
    result.append(f"network {assessment.network}: {cost['network_seconds']:.1f} CPU s")
    return result


def _errors(errors: Sequence[ErrorSummary]) -> list[str]:
    if not errors:
        return []
    result = ["Errors on held-out crystals", f"{'stratum':<10}{'':<8}{'unit':<9}{'crystals':>8}"]
    result[1] += "".join(f"{name:>10}" for name in ("RMSE", "trimmed", "MAE", "median"))
    for row in errors:
        scale, unit = (1e3, "m" + row.unit) if row.kind != "stress" else (1.0, row.unit)
        text = f"{row.stratum:<10}{row.kind:<8}{unit:<9}{row.n_crystals:>8}"
        text += "".join(f"{scale * x:>10.2f}" for x in (row.rmse, row.trimmed, row.mae, row.median))
        result.append(text + (f"  {row.n_failed} without a finite prediction" if row.n_failed else ""))
    return result


def _rows(rows: Sequence[Compared]) -> list[str]:
    widths = [max(len(getattr(row, key)) for row in rows) for key in ("subject", "quantity", "unit")]
    head = (
        f"  {'':<{widths[0]}}  {'':<{widths[1]}}  {'':<{widths[2]}}{'network':>11}{'reference':>11}{'difference':>12}"
    )
    result = [head]
    for row in rows:
        text = f"  {row.subject:<{widths[0]}}  {row.quantity:<{widths[1]}}  {row.unit:<{widths[2]}}"
        text += f"{_number(row.network, row.unit):>11}{_number(row.reference, row.unit):>11}"
        text += f"{_number(row.difference, row.unit):>12}"
        result.append(text + (f"  {row.note}" if row.note else ""))
    return result


def _shown(row: Compared) -> bool:
    """All modes of a crystal with many are for the file."""
    return row.topic != "phonons" or not row.quantity[-1].isdigit() or row.subject.endswith(SHOWN)


def _deviations(rows: Sequence[Deviation]) -> list[str]:
    """One line for each subject."""
    by_subject: dict[str, list[str]] = {}
    for row in rows:
        text = f"{row.quantity} {_number(row.value, row.unit)} {row.unit}".rstrip()
        by_subject.setdefault(row.subject, []).append(text)
    return [f"  differences of {subject}: {', '.join(texts)}" for subject, texts in by_subject.items()]


def _number(value: float, unit: str) -> str:
    return "-" if not math.isfinite(value) else f"{value:.{DIGITS.get(unit, 3)}f}"
