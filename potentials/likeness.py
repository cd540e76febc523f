"""What strata with few crystals are drawn to: the networks of an element that is like a new one, or pretrained ones.

Inputs are sums over neighbours that do not know what element they belong to, so the weights of silver say something of gold at
once: equal inputs, nearly equal bonds. The element is drawn to them in place of random or zero parameters; its pairs and triples
to what those of the like element say beyond their own prior. Pretrained networks are those of the same strata in another library,
whose many labels cost nothing (EMT) or are of another method: what the two agree on need not be learned from the dear one. Only
the fit knows of either: what comes out is a stratum as any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from potentials.features import Descriptor
from potentials.heads import Head
from potentials.network import StratumParameters
from potentials.prior import inherited
from potentials.stratum import Stratum
from potentials.structures import Floats


@dataclass(frozen=True, eq=False)
class Likeness:
    """What the strata of a fit are drawn to; `NONE` where every element is new for itself."""

    elements: Mapping[int, int] = field(default_factory=dict)  # the element that each new one is like, by atomic number
    strata: tuple[
        StratumParameters, ...
    ] = ()  # those of the like elements, as if they were the new ones', or pretrained ones
    pretrained: str = ""  # the version of the library that they are from, where they are

    @classmethod
    def of(
        cls, library: Mapping[Stratum, StratumParameters], strata: Sequence[Stratum], like: Mapping[int, int]
    ) -> Likeness:
        """Of the strata that are fitted, by those there are. A set that would hold an element twice has no counterpart."""
        elements = {z: y for z, y in like.items() if any(z in s.numbers for s in strata)}
        found: dict[Stratum, StratumParameters] = {}
        for own in {s for stratum in strata for s in stratum.subsets()} if elements else ():
            image = {z: elements.get(z, z) for z in own.numbers}
            counterpart = Stratum.of(image.values())
            if counterpart.order == own.order and counterpart in library:
                there = library[counterpart]
                found[own] = replace(
                    there,
                    stratum=own,
                    scale_shift={z: there.scale_shift[y] for z, y in image.items()},
                    scale={z: there.scale[y] for z, y in image.items()},
                    columns={z: there.columns[y] for z, y in image.items()},
                    own_units=None,
                    refined=None,
                )
        return cls(elements, tuple(found[s] for s in sorted(found, key=Stratum.sort_key)))

    @classmethod
    def to_pretrained(cls, strata: Sequence[StratumParameters], version: str) -> Likeness:
        """To these, each for the stratum of its own name."""
        bare = [replace(p, own_units=None, refined=None) for p in strata]
        return cls({}, tuple(sorted(bare, key=lambda p: Stratum.sort_key(p.stratum))), version)

    def names(self) -> dict[str, str]:
        """`elements` by symbols: {"Au": "Ag"}."""
        return {Stratum((z,)).name: Stratum((y,)).name for z, y in self.elements.items()}


NONE = Likeness()


@dataclass(frozen=True, eq=False)
class Model:
    """Weights of unscaled features, (n_block, members, hidden) by centre and block, and heads, of the relabelled strata."""

    shape: Descriptor
    raw: Mapping[int, Mapping[Stratum, Floats]]
    unary: Mapping[int, StratumParameters]

    @classmethod
    def of(cls, shape: Descriptor, strata: Sequence[StratumParameters]) -> Model:
        raw: dict[int, dict[Stratum, Floats]] = {}
        for p in strata:
            for z in p.stratum.numbers:
                raw.setdefault(z, {})[p.stratum] = (p.columns[z] * p.scale[z][:, None]).transpose(1, 0, 2)
        return cls(shape, raw, {p.stratum.numbers[0]: p for p in strata if p.stratum.order == 1})

    def beyond_prior(self, stratum: Stratum, centre: int) -> Floats | None:
        """(n_block, members, hidden) of one block less what the blocks below it say; None where it has no counterpart."""
        own = self.raw.get(centre, {})
        if stratum not in own or stratum.order == 1:
            return own.get(stratum)
        below = [s for s in stratum.subsets() if centre in s.numbers and s != stratum]
        if any(s not in own for s in below):
            return None
        flat = {s: own[s].reshape(len(own[s]), -1) for s in below}
        return own[stratum] - inherited(self.shape, stratum, centre, flat).reshape(own[stratum].shape)

    def head(self, centre: int, member: int, scale_shift: Floats) -> Head | None:
        """Over inputs that are shifted by `scale_shift`."""
        if centre not in self.unary:
            return None
        p, weights = self.unary[centre], self.raw[centre][Stratum((centre,))][:, member]
        head = Head.of(p, member)
        return replace(head, biases=head.biases + np.asarray((scale_shift - p.scale_shift[centre]) @ weights))
