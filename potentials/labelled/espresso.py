"""Quantum ESPRESSO: what the output of pw.x says beside the labels."""

from __future__ import annotations

import re

from ase.units import create_units

from potentials.labelled.run import Method, Run, Setting, Step

RYDBERG = float(create_units("2006")["Ry"])  # eV, as ASE's reader of pw.x has it
# that of a self-consistent cycle; with exact exchange there are several to each step, and the forces belong to the last
ENERGY = re.compile(r"^!!?\s+total energy\s+=\s+(\S+) Ry", flags=re.M)
# what is printed where a dispersion correction is added; the version of D3 is not
DISPERSIONS = {
    "grimme-d2": "Dispersion (Grimme-D2) Correction",
    "grimme-d3": "DFT-D3 Dispersion",
    "xdm": "Dispersion XDM Correction",
    "ts-vdw": "Dispersion T-S Correction",
}
RESULTS = ("!    total energy", "Forces acting on atoms", "total   stress", "convergence NOT achieved")


def pw_output(text: str) -> Run:
    """The Run of an output of pw.x; ValueError when it holds no settings."""
    head = text.split("Self-consistent Calculation")[0]
    # ASE's reader makes an image of every start and of every list of positions, with or without results behind it
    starts = [m.start() for m in re.finditer(r"^.*(?:Program PWSCF|ATOMIC_POSITIONS).*$", text, flags=re.M)]
    parts = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    if "kinetic-energy cutoff" not in head:
        raise ValueError("it ends before the settings")
    whole = "JOB DONE." in text
    chosen = [n for n, part in enumerate(parts) if any(r in part for r in RESULTS)]
    if not whole and len(parts) - 1 not in chosen:
        chosen.append(len(parts) - 1)
    seconds = _seconds(text) / max(1, len(chosen))
    steps = [Step(_fault(parts[n], whole or n < len(parts) - 1), seconds, _energy(parts[n])) for n in chosen]
    number = re.search(r"number of k points=\s*(\d+)", head)
    version = re.search(r"Program PWSCF (\S+)", head)
    return Run(
        _method(head, text),
        f"pw.x {version[1] if version else ''}".strip(),
        number[1] if number else "",
        steps,
        None,
        chosen,
    )


def _fault(part: str, whole: bool) -> str:
    if stopped := re.search(r"convergence NOT achieved after\s+(\d+)", part):
        return f"is not converged: {stopped[1]} electronic steps were not enough"
    if not whole and not all(r in part for r in RESULTS[:3]):
        return "stops within this ionic step; the file is truncated"
    if "EXX: now go back to refine" in part and "EXX self-consistency reached" not in part:
        return "is not converged: exact exchange is not self-consistent"
    return ""


def _energy(part: str) -> float | None:
    """eV after the last of several self-consistent cycles; None where there is one, or none."""
    found = ENERGY.findall(part)
    return RYDBERG * float(found[-1]) if len(found) > 1 else None


def _seconds(text: str) -> float:
    """CPU s of all processes, zero when the job did not end."""
    processes = re.search(r"running on\s+(\d+) processors", text)
    total = re.findall(r"^\s*PWSCF\s*:\s*(.*?)\s*CPU", text, flags=re.M)
    if not total:
        return 0.0
    units = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
    each = sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)\s*([dhms])", total[-1]))
    return each * (int(processes[1]) if processes else 1)


def _method(head: str, text: str) -> Method:
    """From what stands before the first cycle; dispersion corrections are named behind it."""

    def number(pattern: str) -> float:
        found = re.findall(pattern, head)
        return float(found[-1]) if found else 0.0

    functional = re.search(r"Exchange-correlation\s*=\s*(.*?)\s*(?:\(|$)", head, flags=re.M)
    smearing = re.search(r"number of k points=\s*\d+\s+(.*?)(?:, width|\s*$)", head, flags=re.M)
    settings: dict[str, Setting] = {
        "functional": functional[1] if functional else "",
        "cutoff_Ry": number(r"kinetic-energy cutoff\s*=\s*([\d.]+)"),
        "density_cutoff_Ry": number(r"charge density cutoff\s*=\s*([\d.]+)"),
        "smearing": smearing[1].replace(" smearing", "") if smearing else "",
        "width_Ry": number(r"width \(Ry\)=\s*([\d.]+)"),
        "spin": 2 if "Starting magnetic structure" in head else 1,
    }
    if fraction := number(r"EXX-fraction\s*=\s*([\d.]+)"):
        settings["exact_exchange"] = fraction
        if screening := number(r"(?i)screening parameter[^=:\n]*[=:]\s*([\d.]+)"):
            settings["screening"] = screening
    if dispersion := [name for name, marker in DISPERSIONS.items() if marker in text]:
        settings["dispersion"] = "+".join(dispersion)
    if "with spin-orbit" in head:
        settings["spin_orbit"] = True
    if isolated := re.search(r"Assuming isolated system, (.*?)\s*$", head, flags=re.M):
        settings["isolated"] = isolated[1]
    if spins := re.search(r"number of electrons\s*=.*\(up:\s*([\d.]+), down:\s*([\d.]+)\)", head):
        settings["fixed_moment"] = round(float(spins[1]) - float(spins[2]), 3)
    valences = dict(re.findall(r"^\s+(\w+)\s+([\d.]+)\s+[\d.]+\s+\w+\s*\(\s*[\d.]+\)\s*$", head, flags=re.M))
    labels = re.findall(r"^\s+\d+\s+(\w+)\s+tau\(", head, flags=re.M)
    if labels and all(label in valences for label in labels):
        charge = sum(float(valences[label]) for label in labels) - number(r"number of electrons\s*=\s*([\d.]+)")
        if abs(charge) > 0.005:  # electrons are told to two decimals
            settings["charge"] = round(charge, 2)
    elements: dict[str, dict[str, Setting]] = {}
    pattern = r"PseudoPot\. #\s*\d+ for\s+(\w+)\s+read from file:?\s*(\S+)(?:\s*MD5 check sum:\s*(\w+))?"
    for symbol, path, digits in re.findall(pattern, head):
        elements[_element(symbol)] = {"pseudopotential": path.rsplit("/", 1)[-1]} | ({"md5": digits} if digits else {})
    if lacking := sorted({_element(label) for label in labels} - set(elements)):
        raise ValueError(f"it does not name the pseudopotential of {', '.join(lacking)}")
    for symbol, value in re.findall(r"\bU\((\w+)-\w+\)\s*=\s*([\d.]+)", head):  # since 7.1
        elements.setdefault(_element(symbol), {})["U_eV"] = float(value)
    if hubbard := re.search(r"LDA\+U calculation.*\n(?:.*\n)?\s*atomic species.*\n((?:\s+[A-Z]\w*\s+\d.*\n)+)", head):
        for line in hubbard[1].splitlines():
            symbol, _, value = line.split()[:3]
            elements.setdefault(_element(symbol), {})["U_eV"] = float(value)
    return Method("pw.x", settings, elements)


def _element(label: str) -> str:
    """The symbol in a label such as Fe1."""
    found = re.match(r"[A-Z][a-z]?", label.capitalize())
    return found[0] if found else label
