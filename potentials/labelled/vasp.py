"""VASP: what vasprun.xml and OUTCAR say beside the labels. Both give the same Method for the same run.

The formats: https://www.vasp.at/wiki/index.php/Vasprun.xml and .../OUTCAR
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from lzma import LZMAError
from pathlib import Path

import numpy as np

from potentials.labelled.archives import content
from potentials.labelled.run import Method, Run, Setting, Step

# the tag GGA, and what a set of pseudopotentials stands for where the tag is not set
FUNCTIONALS = {"PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "91": "PW91", "CA": "LDA"}
OF_SETS = {"PAW_PBE": "PBE", "PAW_GGA": "PW91", "PAW": "LDA", "PAW_LDA": "LDA"}
CUT_OFF = "stops within this ionic step; the file is truncated"


def vasprun(data: bytes, folder: Path | None = None) -> Run:
    """The Run of a vasprun.xml; ValueError when it holds no settings.

    VASP leaves IVDW out of this file: an INCAR or OUTCAR in `folder` names it. Where neither lies there, nothing can be known,
    and a run with a dispersion correction counts as one without.
    """
    tags: dict[str, str] = {}
    asked: dict[str, str] = {}  # by the INCAR; what VASP took instead is in `tags`
    titles: list[str] = []
    counts: list[int] = []
    valence = 0.0  # electrons of the neutral cell
    program = k_points = ""
    divisions: list[int] = []
    steps: list[Step] = []
    spacing = None
    unfinished = False
    try:
        for event, element in ElementTree.iterparse(io.BytesIO(data), events=("start", "end")):
            if event == "start":
                unfinished = unfinished or element.tag == "calculation"
                continue
            if element.tag == "generator":
                values = {i.get("name"): (i.text or "").strip() for i in element.iter("i")}
                program = f"{values.get('program')} {values.get('version')}"
            elif element.tag == "kpoints":
                for generation in element.iter("generation"):
                    found = [v for v in generation.iter("v") if v.get("name") == "divisions"]
                    divisions = [int(n) for v in found for n in (v.text or "").split()]
                weights = [a for a in element.findall("varray") if a.get("name") == "weights"]
                k_points = " ".join(map(str, divisions)) or str(sum(len(a) for a in weights))
            elif element.tag == "incar":
                asked = _tags(element)
            elif element.tag == "parameters":
                tags |= _tags(element)
            elif element.tag == "array" and element.get("name") == "atomtypes":
                rows = [[(c.text or "").strip() for c in row] for row in element.iter("rc")]
                titles, counts = [row[-1] for row in rows], [int(row[0]) for row in rows]
                valence = sum(int(row[0]) * float(row[3]) for row in rows)
            elif element.tag == "structure" and element.get("name") == "initialpos" and len(divisions) == 3:
                cell = [[float(x) for x in (v.text or "").split()] for v in element.findall("crystal/varray/v")[:3]]
                spacing = _spacing(np.array(cell), divisions)
            elif element.tag == "calculation":
                cycles = len(element.findall("scstep"))
                steps.append(Step(_reached(cycles, int(tags.get("NELM", 0))), _total_time(element)))
                unfinished = False
                element.clear()
    except ElementTree.ParseError:
        if unfinished:
            steps.append(Step(CUT_OFF, 0.0))
    if not tags or not counts:
        raise ValueError("it ends before the settings")
    known = asked | {name: value for name, value in tags.items() if value.strip("-") or name not in asked}
    if "IVDW" not in known and folder is not None:
        known["IVDW"] = _dispersion(folder)
    return Run(_method(known, titles, valence), program, k_points, steps, spacing)


def outcar(text: str) -> Run:
    """The Run of an OUTCAR; ValueError when it holds no settings."""
    end = text.find("Iteration")
    header = text[:end] if end >= 0 else text
    tags = {name: value.rstrip(";") for name, value in re.findall(r"\b([A-Z_]+)\s*=\s*(\S+)", header)}
    if "ENCUT" not in tags:
        raise ValueError("it ends before the settings")
    tags["ENMAX"] = tags["ENCUT"]
    tags["LDAU"] = "T" if "LDA+U is selected" in header else "F"
    for name in ("LDAUL", "LDAUU", "LDAUJ"):
        if line := re.search(rf"{name}\s*=\s*(.*)", header):
            tags[name] = line[1]
    titles = list(dict.fromkeys(t.strip() for t in re.findall(r"POTCAR:\s*(.*)", header)))
    counts, valences = (_row(header, rf"{name}\s*=") for name in ("ions per type", "ZVAL"))
    valence = float(np.dot(counts, valences)) if len(counts) == len(valences) else 0.0
    cores = re.search(r"running (?:on )?\s*(\d+)\s+(?:total cores|mpi-ranks)", header)
    steps = _steps(text[len(header) :].splitlines(), int(tags.get("NELM", 0)), int(cores[1]) if cores else 1)
    number = re.search(r"NKPTS\s*=\s*(\d+)", header)
    return Run(_method(tags, titles, valence), header.split(maxsplit=1)[0], number[1] if number else "", steps)


def _row(header: str, name: str) -> list[float]:
    """The numbers behind the last line that has nothing else behind this name."""
    found = re.findall(rf"{name}((?:[ \t]+\d+(?:\.\d*)?)+)[ \t]*$", header, flags=re.M)
    return [float(x) for x in found[-1].split()] if found else []


def _tags(element: ElementTree.Element) -> dict[str, str]:
    """By name; VASP 6.4.3 and later fill up names with blanks."""
    return {str(i.get("name")).strip().upper(): (i.text or "").strip() for i in element.iter() if i.get("name")}


def _dispersion(folder: Path) -> str:
    """IVDW of the INCAR or OUTCAR that lies there, packed or not; "0" where none names it."""
    for path in (folder / f"{name}{ending}" for name in ("INCAR", "OUTCAR") for ending in ("", ".gz", ".bz2", ".xz")):
        if not path.is_file():
            continue
        try:
            text = content(path).decode("utf-8", "replace")
        except (OSError, EOFError, ValueError, LZMAError) as error:
            raise ValueError(f"{path.name} beside it, which may name IVDW, cannot be read: {error}") from None
        header = text.split("Iteration", 1)[0]
        if found := re.search(r"^[^#!\n]*\bIVDW\s*=\s*(\d+)", header, flags=re.M | re.I):
            return found[1]
    return "0"


def _steps(lines: Sequence[str], limit: int, cores: int) -> list[Step]:
    """Finished ionic steps, and the last one when it is cut off."""
    steps: list[Step] = []
    cycles, reached, since, begun = 0, "", len(lines), False
    for n, line in enumerate(lines):
        if "Iteration" in line:
            number = re.search(r"\(\s*(\d+)\)", line)
            cycles, begun = int(number[1]) if number else cycles, True
        elif "aborting loop because EDIFF is reached" in line:
            reached = "yes"
        elif "aborting loop EDIFF was not reached" in line:
            reached = "no"
        elif "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
            since = n
        elif n == since + 4 and "energy(sigma->0)" in line:  # the last of the lines with the energies
            fault = {"yes": "", "no": _reached(max(cycles, limit), limit)}.get(reached, _reached(cycles, limit))
            steps.append(Step(fault, 0.0))
            cycles, reached, begun = 0, "", False
        elif "LOOP+:" in line and steps:
            times = re.search(r"cpu time\s*([\d.]+|\*+):\s*real time\s*([\d.]+|\*+)", line)
            known = [float(t) for t in times.groups() if "*" not in t] if times else []
            steps[-1] = Step(steps[-1].fault, cores * known[0] if known else 0.0)
    if begun or not steps:
        steps.append(Step(CUT_OFF, 0.0))
    return steps


def _reached(cycles: int, limit: int) -> str:
    return f"is not converged: {cycles} electronic steps reached NELM = {limit}" if 0 < limit <= cycles else ""


def _total_time(calculation: ElementTree.Element) -> float:
    """CPU s; the file does not say of how many processes."""
    for time in calculation.findall("time"):
        if time.get("name") == "totalsc" and (number := re.match(r"\s*(\d+\.\d\d)", time.text or "")):
            return float(number[1])
    return 0.0


def _spacing(cell: np.ndarray, divisions: Sequence[int]) -> float:
    return float((np.linalg.norm(np.linalg.inv(cell).T, axis=1) / divisions).max())


def _is_true(value: str) -> bool:
    return value.strip().strip(".")[:1].upper() == "T"


def _method(tags: Mapping[str, str], titles: Sequence[str], valence: float) -> Method:
    """From tags as INCAR has them, the titles of the pseudopotentials, such as "PAW_PBE Cu_pv 06Sep2000", and their electrons."""
    words = [title.split() for title in titles]
    symbols = [w[1].split("_")[0] if len(w) > 1 else w[0] for w in words]
    sets = {w[0] for w in words}
    functional = FUNCTIONALS.get(tags.get("GGA", "--")[:2], tags.get("GGA", "--"))
    if functional == "--":
        functional = "+".join(sorted(OF_SETS.get(s, s) for s in sets))
    meta = tags.get("METAGGA", "").strip("-").upper()
    settings: dict[str, Setting] = {
        "functional": meta if meta not in ("", "F", "NONE") else functional,
        "cutoff_eV": round(float(tags["ENMAX"]), 1),
        "smearing": int(tags.get("ISMEAR", "1")),
        "width_eV": abs(round(float(tags.get("SIGMA", "0.2")), 2)),
        "spin": int(tags.get("ISPIN", "1")),
        "precision": tags.get("PREC", "normal").lower()[:6],
        "real_space": tags.get("LREAL", "F") != "F",
    }
    if tags.get("LHFCALC", "F") == "T":
        settings["exact_exchange"] = round(float(tags.get("AEXX", "0.25")), 4)
        if screening := round(float(tags.get("HFSCREEN", "0")), 4):
            settings["screening"] = screening
    if _is_true(tags.get("LUSE_VDW", "F")):
        settings["nonlocal_correlation"] = True
    if tags.get("LSORBIT", "F") == "T":
        settings["spin_orbit"] = True
    if _is_true(tags.get("LASPH", "F")):
        settings["aspherical"] = True
    if _is_true(tags.get("LNONCOLLINEAR", "F")):
        settings["noncollinear"] = True
    if float(tags.get("NUPDOWN", "-1")) >= 0.0:
        settings["fixed_moment"] = round(float(tags["NUPDOWN"]), 3)
    if valence and abs(charge := round(valence - float(tags.get("NELECT", valence)), 3)) > 0.001:
        settings["charge"] = charge
    if _is_true(tags.get("LDIPOL", "F")) or int(tags.get("IDIPOL", "0")):
        settings["dipole_correction"] = int(tags.get("IDIPOL", "0"))
    if _is_true(tags.get("LSOL", "F")):
        settings["solvent"] = True
    if not _is_true(tags.get("GGA_COMPAT", "T")):
        settings["gga_compatible"] = False
    if field := round(float(tags.get("EFIELD", "0")), 6):
        settings["field_eV_per_A"] = field
    if int(tags.get("IVDW", "0")):
        settings["dispersion"] = int(tags["IVDW"])
    elements: dict[str, dict[str, Setting]] = {
        s: {"pseudopotential": " ".join(title.split())} for s, title in zip(symbols, titles, strict=True)
    }
    if tags.get("LDAU", "F").strip(".")[:1] == "T":
        settings["LDAUTYPE"] = int(tags.get("LDAUTYPE", "2"))
        for name in ("LDAUL", "LDAUU", "LDAUJ"):
            for symbol, value in zip(symbols, tags.get(name, "").split(), strict=False):
                elements[symbol][name] = float(value)
    return Method("vasp", settings, elements)
