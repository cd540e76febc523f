"""Quantum ESPRESSO: what the output of pw.x says beside the labels."""

from __future__ import annotations

import re

from potentials.labelled.run import Method, Run, Setting, Step

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
    steps = [Step(_fault(parts[n], whole or n < len(parts) - 1), seconds) for n in chosen]
    number = re.search(r"number of k points=\s*(\d+)", head)
    version = re.search(r"Program PWSCF (\S+)", head)
    return Run(
        _method(head), f"pw.x {version[1] if version else ''}".strip(), number[1] if number else "", steps, None, chosen
    )


def _fault(part: str, whole: bool) -> str:
    if stopped := re.search(r"convergence NOT achieved after\s+(\d+)", part):
        return f"is not converged: {stopped[1]} electronic steps were not enough"
    if not whole and not all(r in part for r in RESULTS[:3]):
        return "stops within this ionic step; the file is truncated"
    return ""


def _seconds(text: str) -> float:
    """CPU s of all processes, zero when the job did not end."""
    processes = re.search(r"running on\s+(\d+) processors", text)
    total = re.findall(r"^\s*PWSCF\s*:\s*(.*?)\s*CPU", text, flags=re.M)
    if not total:
        return 0.0
    units = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
    each = sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)\s*([dhms])", total[-1]))
    return each * (int(processes[1]) if processes else 1)


def _method(head: str) -> Method:
    def number(pattern: str) -> float:
        found = re.search(pattern, head)
        return float(found[1]) if found else 0.0

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
    for key, marker in (("dispersion", "Dispersion Correction"), ("spin_orbit", "with spin-orbit")):
        if marker in head:
            settings[key] = True
    elements: dict[str, dict[str, Setting]] = {}
    pattern = r"PseudoPot\. #\s*\d+ for (\w+) read from file:?\s*(\S+)(?:\s*MD5 check sum:\s*(\w+))?"
    for symbol, path, digits in re.findall(pattern, head):
        elements[_element(symbol)] = {"pseudopotential": path.rsplit("/", 1)[-1]} | ({"md5": digits} if digits else {})
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
