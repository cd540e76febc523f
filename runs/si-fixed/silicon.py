"""Tersoff's potential of silicon for ASE: Phys. Rev. B 38, 9902 (1988), doi:10.1103/PhysRevB.38.9902, set Si(C)."""

from ase.calculators.tersoff import Tersoff, TersoffParameters

SILICON = TersoffParameters(
    m=3.0,
    gamma=1.0,
    lambda3=1.3258,
    c=4.8381,
    d=2.0417,
    h=0.0,
    n=22.956,
    beta=0.33675,
    lambda2=1.3258,
    B=95.373,
    R=3.0,
    D=0.2,
    lambda1=3.2394,
    A=3264.7,
)


def tersoff() -> Tersoff:
    """A fresh calculator."""
    return Tersoff({("Si", "Si", "Si"): SILICON})
