"""Labels by other Pulay constants: no DFT is needed, since they are subtracted from what the program says.

    python runs/cu-pd-ag-pbe/pulay.py LABELS --settings reference.toml --were Cu=0.50 Pd=0.25 Ag=0.264

LABELS, made with these constants and the same settings otherwise, are brought to those of the settings file: stresses and the
name of the method change, nothing else does. The journal beside LABELS is taken in and removed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from evo.candidate import atoms_from_json
from evo.reference import open_reference
from evo.reference.collection import Collection, Record
from evo.settings import load_reference


def moved(record: Record, added: dict[str, float], method: str) -> Record:
    """The record with so much more of a Pulay term taken out (eV per atom, by element), as a label of this method."""
    if "failure" in record:
        return record | {"method": method}
    atoms = atoms_from_json(record["crystal"])
    more = np.eye(3) * sum(added[s] for s in atoms.symbols) / atoms.cell.volume
    return record | {"method": method, "stress": (np.array(record["stress"]) - more).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", metavar="LABELS", type=Path)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--were", nargs="+", required=True, metavar="ELEMENT=EV", help="what LABELS were made with")
    asked = parser.parse_args()
    were = {name: float(value) for name, _, value in (pair.partition("=") for pair in asked.were)}
    section = load_reference(asked.settings)
    constants: dict[str, Any] = section.options.get("pulay", {})
    if were.keys() != constants.keys():
        sys.exit(
            f"{asked.settings} has constants of {', '.join(constants)}, --were of {', '.join(were)}; name the same elements"
        )
    old = open_reference(section.model_copy(update={"options": section.options | {"pulay": were}}))
    new = open_reference(section)
    if old is None or new is None:
        sys.exit(f'{asked.settings}: reference.engine is "none"; name the one that made {asked.labels}')
    added = {name: constants[name] - were[name] for name in constants}
    collection = Collection(asked.labels, old)  # refuses labels of any other method
    try:
        collection.records = {k: moved(r, added, new.method) for k, r in collection.records.items()}
        collection.write()
    finally:
        collection.close()
    asked.labels.with_name(asked.labels.name.partition(".")[0] + ".journal").unlink()
    told = ", ".join(f"{name} {value:+.3f}" for name, value in added.items())
    print(
        f"{len(collection.records)} labels of {old.method} are labels of {new.method} now; taken out beside, eV per atom: {told}"
    )


if __name__ == "__main__":
    main()
