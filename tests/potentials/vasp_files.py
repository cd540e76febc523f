"""vasprun.xml and OUTCAR of the same run, in the structure and with the decimals that VASP gives them, with EMT's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from ase.units import GPa

ENTROPY = 0.0123  # eV, between the free energy and the one without entropy


@dataclass(frozen=True)
class Ionic:
    """One ionic step."""

    atoms: Atoms
    energy: float  # the free energy
    forces: np.ndarray
    kilobar: np.ndarray  # (3, 3), VASP's sign
    cycles: int = 9


def ionic_steps(crystals: Sequence[Atoms], cycles: Sequence[int] = ()) -> list[Ionic]:
    """These crystals, grouped by element as a POSCAR has them, with EMT's labels."""
    steps = []
    for k, crystal in enumerate(crystals):
        atoms = crystal[np.argsort(crystal.numbers, kind="stable")]
        atoms.wrap()
        atoms.calc = EMT()
        kilobar = -10.0 * atoms.get_stress(voigt=False) / GPa
        steps.append(
            Ionic(atoms, atoms.get_potential_energy(), atoms.get_forces(), kilobar, cycles[k] if cycles else 9)
        )
    return steps


def vasprun(steps: Sequence[Ionic], nelm: int = 60, potcar: str = "PAW_PBE {} 06Sep2000", **tags: str) -> str:
    """The text of vasprun.xml; `tags` replace those of `TAGS`."""
    known = TAGS | {"NELM": str(nelm)} | tags
    symbols = list(dict.fromkeys(steps[0].atoms.get_chemical_symbols()))
    counts = {s: steps[0].atoms.get_chemical_symbols().count(s) for s in symbols}
    types = "".join(
        f"<rc><c>{counts[s]:4d}</c><c>{s:2s}</c><c>1.0</c><c>11.0</c><c>  {potcar.format(s):36s}</c></rc>\n"
        for s in symbols
    )
    ions = "".join(
        f"<rc><c>{s:2s}</c><c>{symbols.index(s) + 1:4d}</c></rc>\n" for s in steps[0].atoms.get_chemical_symbols()
    )
    parameters = "".join(f'  <i{_type(value)} name="{name}">{value}</i>\n' for name, value in known.items())
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.3.0  </i>
 </generator>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       8        8        8 </v>
  </generation>
  <varray name="kpointlist" >
   <v>       0.00000000       0.00000000       0.00000000 </v>
  </varray>
  <varray name="weights" >
   <v>       1.00000000 </v>
  </varray>
 </kpoints>
 <parameters>
{parameters} </parameters>
 <atominfo>
  <array name="atoms" >
   <set>
{ions}   </set>
  </array>
  <array name="atomtypes" >
   <set>
{types}   </set>
  </array>
 </atominfo>
 <structure name="initialpos" >
{_structure(steps[0].atoms)} </structure>
{"".join(_calculation(step) for step in steps)}</modeling>
"""


TAGS = {
    "PREC": "accurate",
    "ENMAX": "    400.00000000",
    "ISMEAR": "     1",
    "SIGMA": "      0.10000000",
    "ISPIN": "     1",
    "LREAL": " F  ",
    "GGA": "--",
    "LHFCALC": " F  ",
    "LDAU": " F  ",
    "PSTRESS": "      0.00000000",
}


def _type(value: str) -> str:
    """As VASP marks them: floats not at all."""
    word = value.strip()
    kind = "int" if word.isdigit() else "" if "." in word else "logical" if word in "TF" else "string"
    return f' type="{kind}"' if kind else ""


def _rows(rows: np.ndarray) -> str:
    return "".join("    <v> " + " ".join(f"{x:15.8f}" for x in row) + " </v>\n" for row in rows)


def _structure(atoms: Atoms) -> str:
    scaled = _rows(atoms.get_scaled_positions(wrap=False))
    return (
        f'  <crystal>\n   <varray name="basis" >\n{_rows(atoms.cell[:])}   </varray>\n  </crystal>\n'
        f'  <varray name="positions" >\n{scaled}  </varray>\n'
    )


def _calculation(step: Ionic) -> str:
    known = {"e_fr_energy": step.energy, "e_wo_entrp": step.energy + ENTROPY, "e_0_energy": step.energy + ENTROPY / 2}
    items = "".join(f'   <i name="{name}">{value:16.8f} </i>\n' for name, value in known.items())
    energies = f"<energy>\n{items}  </energy>\n"
    arrays = [
        f'  <varray name="{n}" >\n{_rows(a)}  </varray>\n'
        for n, a in (("forces", step.forces), ("stress", step.kilobar))
    ]
    return (
        " <calculation>\n"
        + step.cycles * f"  <scstep>\n  {energies}  </scstep>\n"
        + f"  <structure>\n{_structure(step.atoms)}  </structure>\n"
        + "".join(arrays)
        + f'  {energies}  <time name="totalsc">    7.25    7.50</time>\n </calculation>\n'
    )


def outcar(steps: Sequence[Ionic], nelm: int = 60, potcar: str = "PAW_PBE {} 06Sep2000", encut: float = 400.0) -> str:
    """The text of OUTCAR."""
    symbols = list(dict.fromkeys(steps[0].atoms.get_chemical_symbols()))
    counts = "".join(f"{steps[0].atoms.get_chemical_symbols().count(s):4d}" for s in symbols)
    titles = "".join(f" POTCAR:    {potcar.format(s)}\n" for s in symbols)
    head = f""" vasp.6.3.0 20Jan22 complex
 running on    4 total cores
 INCAR:
{titles}{titles}
   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=     16
   ions per type =            {counts}
   PREC   = accura    normal or accurate (medium, high low for compatibility)
   ISPIN  =      1    spin polarized calculation?
   ENCUT  =  {encut:5.1f} eV  29.40 Ry    5.42 a.u.   4.00  4.00  4.00*2*pi/ulx,y,z
   NELM   =    {nelm:3d};   NELMIN=  2; NELMDL= -5     # of ELM steps
   LREAL  =      F    real-space projection
   ISMEAR =     1;   SIGMA  =   0.10  broadening in eV -4-tet -1-fermi 0-gaus
   GGA     =    --    GGA type
   LHFCALC =     F    Hartree Fock is set to
 k-points in reciprocal lattice and weights: Gamma
   0.00000000  0.00000000  0.00000000       1.000

"""
    return head + "".join(_ionic(k + 1, step, nelm) for k, step in enumerate(steps)) + TIMING


TIMING = """ General timing and accounting informations for this job:
                  Total CPU time used (sec):       30.000
"""


def _ionic(number: int, step: Ionic, nelm: int) -> str:
    lines = [
        f"----------------------------------------- Iteration {number:4d}({c + 1:4d})  ---------------------------------------"
        for c in range(step.cycles)
    ]
    reached = "because EDIFF is reached ----" if step.cycles < nelm else "EDIFF was not reached (unconverged)  ----"
    lines.append(f"------------------------ aborting loop {reached}")
    k = step.kilobar
    lines.append("  in kB   " + "".join(f"{x:12.5f}" for x in (k[0, 0], k[1, 1], k[2, 2], k[0, 1], k[1, 2], k[2, 0])))
    lines.append("      direct lattice vectors                 reciprocal lattice vectors")
    lines += ["  " + "".join(f"{x:13.9f}" for x in (*a, *b)) for a, b in zip(step.atoms.cell, np.eye(3), strict=True)]
    lines.append(" POSITION                                       TOTAL-FORCE (eV/Angst)")
    lines.append(" " + 83 * "-")
    for x, f in zip(step.atoms.positions, step.forces, strict=True):
        lines.append("  " + "".join(f"{v:13.5f}" for v in x) + "  " + "".join(f"{v:14.6f}" for v in f))
    lines.append("  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)")
    lines.append("  ---------------------------------------------------")
    lines.append(f"  free  energy   TOTEN  = {step.energy:17.8f} eV")
    lines.append("")
    lines.append(
        f"  energy  without entropy={step.energy + ENTROPY:17.8f}  energy(sigma->0) ={step.energy + ENTROPY / 2:17.8f}"
    )
    lines.append(f"     LOOP+:  cpu time    {7.25:.4f}: real time    7.5000")
    return "\n".join(lines) + "\n"
