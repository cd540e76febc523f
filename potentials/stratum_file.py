"""One stratum version on disk: an npz archive without pickles, arrays and one JSON text, checked by SHA-256 when it is read."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potentials.environments import Environments
from potentials.network import OwnUnits, RefinedNetwork, StratumParameters
from potentials.stratum import Stratum

FORMAT = 1
REFINED = ("weights", "biases", "outputs", "shifts")  # arrays of a RefinedNetwork
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every archive member: equal contents are equal bytes
Arrays = dict[str, NDArray[Any]]


class LibraryError(ValueError):
    """A library or one of its files that cannot be used; the message names it."""

    exit_code = 65


@dataclass(frozen=True, eq=False)
class TrainedStratum:
    """What training yields: parameters, the surroundings they know, and where they come from."""

    parameters: StratumParameters
    environments: Environments  # empty where nothing is known of its training data
    parents: Mapping[str, str]  # content hash of every lower stratum they were trained on, by name
    metadata: Mapping[str, Any]  # method, n_data, data hash, errors, CPU seconds, lowest eV/atom

    @property
    def stratum(self) -> Stratum:
        return self.parameters.stratum

    @property
    def members(self) -> int:
        columns = self.parameters.columns
        return len(next(iter(columns.values()))) if columns else 1

    @property
    def n_parameters(self) -> int:
        """Of one committee member."""
        p = self.parameters
        own = sum(c[0].size for c in p.columns.values())
        if p.gupta is not None:
            return p.gupta.size
        above = (p.biases, p.outputs, p.shifts, p.second_weights, p.second_biases)
        own += 0 if p.embedded is None else p.embedded.size
        added = list((p.own_units or {}).values())
        own += sum(x[0].size for u in added for x in (u.weights, u.biases, u.outputs))
        own += sum(getattr(net, k)[0].size for net in (p.refined or {}).values() for k in REFINED)
        return own + sum(x[0].size for x in above if x is not None)

    def arrays(self) -> Arrays:
        """Everything that decides a prediction or a grade."""
        named, e = parameter_arrays(self.parameters), self.environments
        for z in e.factors:
            named |= {f"environment_scale.{z}": e.scales[z]}
            named |= {f"environments.{z}": e.factors[z], f"edge.{z}": np.array(e.edges[z])}
        return named

    def content_hash(self) -> str:
        """SHA-256 over names, types, shapes and bytes of the arrays, and over the parents' hashes."""
        digest = hashlib.sha256(json.dumps([FORMAT, dict(self.parents)], sort_keys=True).encode())
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def parameter_arrays(p: StratumParameters) -> Arrays:
    """Everything that decides a prediction."""
    if p.gupta is not None:
        return {"gupta": p.gupta}
    named: Arrays = {}
    for z in p.stratum.numbers:
        named |= {f"shift.{z}": p.scale_shift[z], f"scale.{z}": p.scale[z], f"columns.{z}": p.columns[z]}
    if p.biases is not None and p.outputs is not None and p.shifts is not None:
        named |= {"biases": p.biases, "outputs": p.outputs, "shifts": p.shifts}
    if p.second_weights is not None and p.second_biases is not None:
        named |= {"second_weights": p.second_weights, "second_biases": p.second_biases}
    if p.embedded is not None:
        named["embedded"] = p.embedded
    for z, u in (p.own_units or {}).items():
        named |= {f"own_weights.{z}": u.weights, f"own_biases.{z}": u.biases, f"own_outputs.{z}": u.outputs}
    for z, net in (p.refined or {}).items():
        named |= {f"refined_{k}.{z}": getattr(net, k) for k in REFINED}
    return named


def pack(trained: TrainedStratum, recipe: Mapping[str, Any]) -> bytes:
    """The bytes of the file; the same content gives the same bytes."""
    header = {
        "format": FORMAT,
        "stratum": trained.stratum.name,
        "elements": list(trained.stratum.symbols),
        "order": trained.stratum.order,
        "content": trained.content_hash(),
        "parents": dict(trained.parents),
        "recipe": dict(recipe),
        **trained.metadata,
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
        for name, array in [("metadata", text), *sorted(trained.arrays().items())]:
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), member.getvalue())
    return stream.getvalue()


def unpack(data: bytes, name: str, recipe: Mapping[str, Any] | None = None) -> TrainedStratum:
    """The stratum in these bytes; LibraryError naming the file when they are not what was written, or not by this recipe."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays: Arrays = {k: archive[k] for k in archive.files}
        header = json.loads(arrays.pop("metadata").tobytes())
        if header["format"] != FORMAT:
            raise LibraryError(f"{name} has format {header['format']}, this version reads {FORMAT}; update the package")
        trained = _assemble(header, arrays)
    except LibraryError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged bytes raise whatever they happen to spell
        raise LibraryError(f"{name} is damaged ({type(error).__name__}); restore it from a copy") from None
    if trained.content_hash() != header["content"]:
        raise LibraryError(f"{name} is damaged (its content has another hash); restore it from a copy")
    if recipe is not None and (unlike := _unlike(recipe, header["recipe"])):
        raise LibraryError(
            f"{name} was made by another recipe than the library says it has ({unlike}); restore both from one copy"
        )
    return trained


def _unlike(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """What decides predictions and differs between two recipes; how fits weigh their residuals does not."""
    names = sorted((one.keys() | two.keys()) - {"fitting"})
    return ", ".join(f"`{n}`" for n in names if one.get(n) != two.get(n))


def _assemble(header: dict[str, Any], arrays: Arrays) -> TrainedStratum:
    stratum = Stratum.parse(header["stratum"])

    own = ("format", "stratum", "elements", "order", "content", "parents", "recipe")
    metadata = {k: v for k, v in header.items() if k not in own}
    if "gupta" in arrays:
        pair = StratumParameters(stratum, {}, {}, {}, gupta=arrays["gupta"])
        return TrainedStratum(pair, Environments({}, {}, {}), header["parents"], metadata)

    def by_element(name: str) -> dict[int, NDArray[Any]]:
        return {z: arrays[f"{name}.{z}"] for z in stratum.numbers}

    def known(name: str) -> dict[int, NDArray[Any]]:
        return by_element(name) if f"edge.{stratum.numbers[0]}" in arrays else {}

    parameters = StratumParameters(
        stratum,
        by_element("shift"),
        by_element("scale"),
        by_element("columns"),
        arrays.get("biases"),
        arrays.get("outputs"),
        arrays.get("shifts"),
        arrays.get("second_weights"),
        arrays.get("second_biases"),
        own_units={
            z: OwnUnits(*(arrays[f"own_{name}.{z}"] for name in ("weights", "biases", "outputs")))
            for z in stratum.numbers
        }
        if f"own_biases.{stratum.numbers[0]}" in arrays
        else None,
        refined={z: RefinedNetwork(*(arrays[f"refined_{k}.{z}"] for k in REFINED)) for z in stratum.numbers}
        if f"refined_biases.{stratum.numbers[0]}" in arrays
        else None,
        embedded=arrays.get("embedded"),
    )
    edges = {z: float(a) for z, a in known("edge").items()}
    environments = Environments(known("environment_scale"), known("environments"), edges)
    return TrainedStratum(parameters, environments, header["parents"], metadata)


def write_atomically(path: Path, data: bytes) -> None:
    """All of it or nothing, also when the machine stops in between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
