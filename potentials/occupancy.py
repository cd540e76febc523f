"""Occupancy: sites that several elements share. ASE reads such a CIF as the first of them alone, which is another material."""

from __future__ import annotations

from collections.abc import Mapping

from ase import Atoms

WHOLE = 1e-3  # what an occupancy may differ from one


def shared(atoms: Atoms) -> str:
    """The first site that is not occupied by one element alone, such as "Cu 0.5, Pd 0.5"; empty where there is none."""
    sites = atoms.info.get("occupancy")
    if not isinstance(sites, Mapping):
        return ""
    for site in sites.values():
        if isinstance(site, Mapping) and (len(site) != 1 or abs(sum(site.values()) - 1.0) > WHOLE):
            return ", ".join(f"{element} {share:g}" for element, share in site.items())
    return ""
