"""One published neural network: ranges of the inputs, weights, the table of symmetry functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from potentials.features import SymmetryFunctions
from potentials.features.blocks import Sizes
from potentials.features.symmetry_functions import G2, G4
from potentials.maise.box import MaiseError, ModelFile
from potentials.network import StratumParameters
from potentials.stratum import Stratum
from potentials.structures import Floats

OLDEST = (2, 4)  # version of MAISE
TABLES = ("Rc", "Rs", "n1", "n2", "k", "z", "l")


@dataclass(frozen=True, eq=False)
class ElementNetwork:
    """The network of one element: D - hidden - second - 1."""

    minima: Floats  # (D,) of the inputs
    scales: Floats  # (D,)
    biases: Floats  # (hidden,)
    second_biases: Floats  # (second,)
    shift: float
    weights: Floats  # (hidden, D)
    second_weights: Floats  # (second, hidden)
    outputs: Floats  # (second,)


@dataclass(frozen=True, eq=False)
class PublishedNetwork:
    """All that a file says."""

    file: ModelFile
    functions: SymmetryFunctions
    hidden: int
    second: int
    networks: tuple[ElementNetwork, ...]  # in the order of the file's species

    def strata(self) -> dict[Stratum, StratumParameters]:
        """The file cut into what belongs to each set of its elements, canonical order.

        In the file, features are ordered by d = (place of the neighbour - place of the centre) mod n: for every d the
        functions of d, of the pairs (0, d) and (d, d), then of (1, d) ... (d - 1, d).
        """
        species = self.file.species
        pieces: dict[tuple[Stratum, int], slice] = {}
        radial, angular = len(self.functions.radial), len(self.functions.angular)
        for s, centre in enumerate(species):
            others = [species[(s + d) % len(species)] for d in range(len(species))]
            start = 0
            for d, other in enumerate(others):
                size = radial + (2 if d else 1) * angular
                pieces[Stratum.of((centre, other)), centre] = slice(start, start + size)
                start += size
                for lower in others[1:d]:
                    pieces[Stratum.of((centre, lower, other)), centre] = slice(start, start + angular)
                    start += angular
        strata = [s for s in Stratum.of(species).subsets() if s.order <= 3]
        return {s: self._stratum(s, {z: pieces[s, z] for z in s.numbers}) for s in strata}

    def _stratum(self, stratum: Stratum, parts: dict[int, slice]) -> StratumParameters:
        own = {z: self.networks[self.file.species.index(z)] for z in stratum.numbers}
        shifts = {z: own[z].minima[part] for z, part in parts.items()}
        if stratum.order > 1 and any(s.any() for s in shifts.values()):
            raise MaiseError(f"{self.file.path}: expected minima of 0 for the inputs of {stratum.name}, got others")
        scales = {z: own[z].scales[part] for z, part in parts.items()}
        columns = {z: np.ascontiguousarray(own[z].weights[:, part].T)[None] for z, part in parts.items()}
        if stratum.order > 1:
            return StratumParameters(stratum, shifts, scales, columns)
        only = own[stratum.numbers[0]]
        return StratumParameters(
            stratum,
            shifts,
            scales,
            columns,
            biases=only.biases[None],
            outputs=only.outputs[None],
            shifts=np.array([only.shift]),
            second_weights=np.ascontiguousarray(only.second_weights.T)[None],
            second_biases=only.second_biases[None],
        )


def read_network(file: ModelFile) -> PublishedNetwork:
    """MaiseError, naming the line, where it is not complete."""
    _check_version(file)
    n = len(file.species)
    sizes = [file.whole(word) for word in file.row("architecture").split()]
    if len(sizes) != 4 or sizes[3] != 1 or min(sizes) < 1 or file.whole(file.row("number of layers")) != 4:
        raise MaiseError(f"{file.path}: expected an architecture D h1 h2 1, got `{file.row('architecture')}`")
    n_inputs, hidden, second, _ = sizes
    n_weights = n * ((n_inputs + 1) * hidden + (hidden + 1) * second + second + 1)
    if file.whole(file.row("number of weights")) != n_weights:
        raise MaiseError(f"{file.path}: expected {n_weights} weights, got {file.row('number of weights')}")
    line = file.line_after("minimum")
    ranges = np.array([file.numbers(line + k, 3) for k in range(n * n_inputs)]).reshape(n, n_inputs, 3)
    spans = (ranges[:, :, 1] - ranges[:, :, 0]) * ranges[:, :, 2]
    if not (np.abs(spans - 1) < 1e-6).all():
        raise MaiseError(f"{file.path}: expected 1/(maximum - minimum) in the third column of the ranges, got others")
    line += n * n_inputs + 3
    weights = np.array([file.numbers(line + k, 1)[0] for k in range(n_weights)]).reshape(n, -1)
    networks = [_network(ranges[s], weights[s], n_inputs, hidden, second) for s in range(n)]
    functions = _functions(file, line + n_weights)
    if (wanted := Sizes(len(functions.radial), len(functions.angular)).n_features(n)) != n_inputs:
        raise MaiseError(f"{file.path}: expected {wanted} inputs for its symmetry functions, got {n_inputs}")
    return PublishedNetwork(file, functions, hidden, second, tuple(networks))


def _check_version(file: ModelFile) -> None:
    found = re.match(r"maise\.(\d+)\.(\d+)", file.row("maise version"))
    if not found or (int(found[1]), int(found[2])) < OLDEST:
        raise MaiseError(f"{file.path}: expected a model of MAISE 2.4.0 or later, got `{file.row('maise version')}`")


def _network(ranges: Floats, weights: Floats, n_inputs: int, hidden: int, second: int) -> ElementNetwork:
    ends = np.cumsum([hidden, second, 1, hidden * n_inputs, second * hidden])
    b1, b2, b3, w1, w2, w3 = np.split(weights, ends)
    return ElementNetwork(
        minima=ranges[:, 0].copy(),
        scales=ranges[:, 2].copy(),
        biases=b1,
        second_biases=b2,
        shift=float(b3[0]),
        weights=w1.reshape(hidden, n_inputs),
        second_weights=w2.reshape(second, hidden),
        outputs=w3,
    )


def _functions(file: ModelFile, begin: int) -> SymmetryFunctions:
    """From the table after the weights, in Å."""
    line = file.line_after("B2A", begin)
    unit, scaling = file.numbers(line, 2)
    line = file.line_after("N  GN", line) + 1
    rows: list[list[int]] = []
    while line < len(file.lines) and file.lines[line].strip():
        rows.append([int(x) for x in file.numbers(line, 9)])
        line += 1
    values = {}
    for name in TABLES:
        line = file.line_after(f"{name} ", line)
        words = file.lines[line - 1].split()
        try:
            values[name] = [float(word) for word in words[2:]]
            complete = int(words[1]) == len(values[name])
        except (ValueError, IndexError):
            complete = False
        if not complete:
            raise MaiseError(f"{file.path}, line {line}: expected `{name}`, a count and so many numbers")
    length = unit * scaling
    radial, angular, cutoffs = [], [], set()
    try:
        for _, kind, rc, rs, n1, n2, _, z, l in rows:
            cutoffs.add(values["Rc"][rc] * length)
            if kind == 2:
                radial.append(G2(values["n1"][n1] / length**2, values["Rs"][rs] * length))
            elif kind == 4:
                angular.append(G4(values["n2"][n2] / length**2, int(values["z"][z]), int(values["l"][l])))
            else:
                raise MaiseError(f"{file.path}: expected symmetry functions of kind 2 or 4, got {kind}")
        (cutoff,) = cutoffs
        return SymmetryFunctions(cutoff, tuple(radial), tuple(angular))
    except MaiseError:
        raise
    except (IndexError, ValueError) as error:
        raise MaiseError(f"{file.path}: its table of symmetry functions cannot be used: {error}") from None
