"""Units and conventions of both packages: eV, Å, eV/Å³; rows of a cell are its vectors; stress as in ASE.

A stress is dE/dstrain/V: positive under tension. Pressure is minus a third of its trace.
Convert only where files or user input are read, or where something is printed.
"""

GPA_PER_EV_PER_A3 = 160.21766208  # 1 eV/Å³ in GPa (CODATA 2014, as ASE)
EV_PER_A3_PER_GPA = 1.0 / GPA_PER_EV_PER_A3
J_PER_M2_PER_EV_PER_A2 = 16.02176634  # 1 eV/Å² in J/m² (SI, exact)
MEV = 1e-3
COULOMB = 14.399645478  # e²/(4 pi eps0) in eV Å, for the screened nuclear repulsion
