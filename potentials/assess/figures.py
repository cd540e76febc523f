"""Figures of an assessment, as PNG; the only place that knows matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from potentials.assess.results import Assessment, Compared, Curve, Parity

NETWORK, REFERENCE = "#c0392b", "#2c3e50"
COLUMNS = 3


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(directory: Path, assessment: Assessment) -> list[Path]:
    """Paths of the figures: parity of labels, E(V), phonon bands and formation energies, those there is something for."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    if assessment.parity:
        paths.append(_save(directory / "parity.png", _parity(assessment.parity)))
    for topic in assessment.network_curves:
        theirs = assessment.reference_curves.get(topic, [])
        figure = _curves(assessment.network_curves[topic], theirs)
        paths.append(_save(directory / f"{topic}.png", figure))
    rows = [r for r in assessment.of("formation") if r.quantity == "formation energy" and math.isfinite(r.network)]
    if rows:
        paths.append(_save(directory / "formation.png", _formation(rows)))
    return paths


def _figure(n: int) -> tuple[Any, list[Any]]:
    """A figure with n axes, through the object interface: no global state, no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(n, COLUMNS)
    rows = -(-n // columns)
    figure = Figure(figsize=(4.2 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[n:]:
        unused.remove()
    return figure, axes[:n]


def _save(path: Path, figure: Any) -> Path:
    figure.savefig(path, dpi=120)
    return path


def _parity(sets: Sequence[Parity]) -> Any:
    """One panel for each stratum and kind, points against the diagonal."""
    figure, axes = _figure(len(sets))
    for ax, data in zip(axes, sets, strict=True):
        ax.plot(data.labels, data.predictions, ".", color=NETWORK, markersize=3, alpha=0.5)
        ends = [min(*data.labels, *data.predictions), max(*data.labels, *data.predictions)]
        ax.plot(ends, ends, "-", color=REFERENCE, linewidth=0.8)
        ax.set(title=f"{data.stratum} {data.kind}", xlabel=f"label, {data.unit}", ylabel=f"network, {data.unit}")
    return figure


def _curves(network: Sequence[Curve], reference: Sequence[Curve]) -> Any:
    """One panel for each crystal, the reference's lines below the network's."""
    others: Mapping[str, Curve] = {c.subject: c for c in reference}
    figure, axes = _figure(len(network))
    for ax, mine in zip(axes, network, strict=True):
        theirs = others.get(mine.subject)
        for curve, color, style, label in ((theirs, REFERENCE, "-", "reference"), (mine, NETWORK, "--", "network")):
            if curve is None:
                continue
            stretch = mine.x[-1] / curve.x[-1] if mine.ticks else 1.0  # both sides' paths end at one place
            for k, line in enumerate(curve.y):
                x, y = _broken([stretch * value for value in curve.x], line)
                ax.plot(x, y, style, color=color, linewidth=1.1, label="" if k else label)
        if mine.ticks:
            ax.set_xticks(list(mine.ticks.values()), [name.rstrip("'") for name in mine.ticks])
            ax.axhline(0.0, color="0.7", linewidth=0.6)
            for place in mine.ticks.values():
                ax.axvline(place, color="0.85", linewidth=0.6, zorder=0)
        ax.set(title=mine.subject, xlabel=mine.x_label, ylabel=mine.y_label)
        ax.legend(fontsize="small")
    return figure


def _broken(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The same line, interrupted where it jumps at one x: two ends of a path that are not one point."""
    new_x, new_y = [x[0]], [y[0]]
    for k in range(1, len(x)):
        if x[k] == x[k - 1]:
            new_x.append(math.nan)
            new_y.append(math.nan)
        new_x.append(x[k])
        new_y.append(y[k])
    return new_x, new_y


def _formation(rows: Sequence[Compared]) -> Any:
    """Formation energies in one row of marks."""
    figure, (ax,) = _figure(1)
    figure.set_size_inches(max(5.0, 0.3 * len(rows)), 4.2)
    places = range(len(rows))
    ax.plot(places, [r.reference for r in rows], "_", color=REFERENCE, markersize=12, label="reference")
    ax.plot(places, [r.network for r in rows], "x", color=NETWORK, label="network")
    ax.axhline(0.0, color="0.7", linewidth=0.6)
    ax.set_xticks(list(places), [r.subject for r in rows], rotation=90, fontsize="small")
    ax.set(ylabel="formation energy, meV/atom")
    ax.legend()
    return figure
