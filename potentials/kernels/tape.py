"""Straight-line code recorded from ordinary formulas, and its gradient by the reverse mode (Wengert, doi:10.1145/355586.364791).

A formula that is called with symbols leaves its steps on their tape; equal steps are recorded once. What comes out are lines of
source, only those that the results need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Term = str | float
TEXT = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "reciprocal": "1.0 / {}",
    "sqrt": "tl.sqrt({})",
    "sin": "tl.sin({})",
    "cos": "tl.cos({})",
    "exp": "tl.exp({})",
    "clamp": "tl.minimum(tl.maximum({}, 0.0), 1.0)",
}


@dataclass(frozen=True, slots=True)
class Symbol:
    """A number that is known when the code runs."""

    tape: Tape
    name: str

    def __add__(self, other: Symbol | float) -> Symbol | float:
        return self.tape.step("add", self, other)

    def __sub__(self, other: Symbol | float) -> Symbol | float:
        return self.tape.step("subtract", self, other)

    def __rsub__(self, other: float) -> Symbol | float:
        return self.tape.step("subtract", other, self)

    def __mul__(self, other: Symbol | float) -> Symbol | float:
        return self.tape.step("multiply", self, other)

    def __truediv__(self, other: Symbol) -> Symbol | float:
        return self * self.tape.step("reciprocal", other)

    def __rtruediv__(self, other: float) -> Symbol | float:
        return other * self.tape.step("reciprocal", self)

    __radd__, __rmul__ = __add__, __mul__


@dataclass(frozen=True, slots=True)
class _Step:
    target: str
    function: str
    arguments: tuple[Term, ...]


@dataclass(eq=False)
class Tape:
    """The steps that were taken with its symbols."""

    steps: list[_Step] = field(default_factory=list)
    _known: dict[tuple[str, tuple[Term, ...]], Symbol] = field(default_factory=dict)

    def inputs(self, names: Sequence[str]) -> list[Symbol]:
        return [Symbol(self, name) for name in names]

    def step(self, function: str, *arguments: Symbol | float) -> Symbol | float:
        """The result of one step; a plain number or an argument itself where nothing needs to be done."""
        if function == "multiply":
            for one, other in (arguments, arguments[::-1]):
                if isinstance(one, float | int) and one in (0.0, 1.0):
                    return other if one else 0.0
        if function in ("add", "subtract") and _is_zero(arguments[1]):
            return arguments[0]
        if _is_zero(arguments[0]):
            if function == "add":
                return arguments[1]
            if function == "subtract":
                return -1.0 * arguments[1]
        terms: tuple[Term, ...] = tuple(a.name if isinstance(a, Symbol) else float(a) for a in arguments)
        if function in ("add", "multiply"):
            terms = tuple(sorted(terms, key=str))  # either order is one step
        known = self._known.get((function, terms))
        if known is None:
            known = self._known[function, terms] = Symbol(self, f"t{len(self.steps)}")
            self.steps.append(_Step(known.name, function, terms))
        return known

    def gradient(self, of: Symbol, by: Sequence[Symbol]) -> list[Symbol | float]:
        """Derivatives of one symbol by others, recorded behind the steps so far."""
        adjoint: dict[str, Symbol | float] = {of.name: 1.0}
        for step in reversed(self.steps.copy()):
            slope = adjoint.get(step.target)
            if slope is None:
                continue
            for term, share in zip(step.arguments, self._shares(step, slope), strict=True):
                if isinstance(term, str):
                    adjoint[term] = share + adjoint[term] if term in adjoint else share
        return [adjoint.get(symbol.name, 0.0) for symbol in by]

    def _shares(self, step: _Step, slope: Symbol | float) -> list[Symbol | float]:
        """What each argument of a step gets of the slope of its result."""
        out = Symbol(self, step.target)
        args = [Symbol(self, a) if isinstance(a, str) else a for a in step.arguments]
        match step.function:
            case "add":
                return [slope, slope]
            case "subtract":
                return [slope, -1.0 * slope]
            case "multiply":
                return [slope * args[1], slope * args[0]]
            case "reciprocal":
                return [-1.0 * (slope * (out * out))]
            case "sqrt":
                return [slope * (0.5 * self.step("reciprocal", out))]
            case "sin":
                return [slope * self.step("cos", args[0])]
            case "cos":
                return [-1.0 * (slope * self.step("sin", args[0]))]
            case "exp":
                return [slope * out]
            case "clamp":  # only of what is flat at 0 and at 1
                return [slope]
        raise ValueError(f"no derivative of `{step.function}`")

    def lines(self, results: Sequence[Symbol | float]) -> list[str]:
        """One assignment for each step that the results need, in order."""
        needed = {r.name for r in results if isinstance(r, Symbol)}
        chosen = []
        for step in reversed(self.steps):
            if step.target in needed:
                needed.update(a for a in step.arguments if isinstance(a, str))
                chosen.append(step)
        return [
            f"{s.target} = " + TEXT[s.function].format(*(a if isinstance(a, str) else repr(a) for a in s.arguments))
            for s in reversed(chosen)
        ]


def _is_zero(number: Symbol | float) -> bool:
    return not isinstance(number, Symbol) and number == 0
