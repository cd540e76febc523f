"""What the networks believed of the compounds that a campaign asked about, beside what DFT said.

evo results runs/cu-pd-hull-dft --within 30 --csv > docs/cu-pd-hull/near.csv
python runs/cu-pd-ag-pbe/believed.py docs/cu-pd-hull/near.csv
"""

import csv
import sys

import numpy as np

with open(sys.argv[1], encoding="utf-8") as file:
    rows = [r for r in csv.DictReader(file) if r["formation_reference"] and abs(float(r["formation_reference"])) > 0]
pure = {r["formula"] for r in rows if r["formula"].isalpha() and sum(map(str.isupper, r["formula"])) == 1}
compounds = [r for r in rows if r["formula"] not in pure]
print("formula space_group atoms status network dft above_hull   formation energies, meV/atom")
for r in compounds:
    network, dft, above = (
        1000 * float(r[k]) for k in ("formation_network", "formation_reference", "above_hull_reference")
    )
    print(
        f"{r['formula']:8s} {r['space_group']:8s} {r['n_atoms']:>2s} {r['status']:10s} {network:7.1f} {dft:7.1f} {above:5.1f}"
    )
off = np.array([1000 * (float(r["formation_network"]) - float(r["formation_reference"])) for r in compounds])
print(
    f"{len(off)} compounds: RMS {np.sqrt((off**2).mean()):.1f}, median {np.median(abs(off)):.1f}, "
    f"largest {abs(off).max():.1f} meV/atom, {(abs(off) <= 5).sum()} within 5"
)
