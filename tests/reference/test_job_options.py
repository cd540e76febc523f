"""Options that all DFT engines share: a name that is no element is an error, for it would be left out without a word."""

from __future__ import annotations

import pytest

from evo.reference.espresso import EspressoOptions
from evo.reference.gpaw import GpawOptions
from evo.reference.job import checked_options
from evo.reference.vasp import VaspOptions
from evo.settings import SettingsError


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (GpawOptions, {"moments": {"ni": 2.0}}, "`moments`: `ni` is not an element; did you mean Ni"),
        (GpawOptions, {"hubbard": {"Nickel": {"d": 6.0}}}, "`hubbard`: `Nickel` is not an element"),
        (GpawOptions, {"setups": {"pd": "10"}}, "`setups`: `pd` is not an element; did you mean Pd"),
        (EspressoOptions, {"pseudopotentials": {"cu": "Cu.upf"}}, "`pseudopotentials`: `cu` is not an element"),
        (
            EspressoOptions,
            {"pseudopotentials": {"Cu": "Cu.upf"}, "pulay": {"X": 1.0}},
            "`pulay`: `X` is not an element",
        ),
        (
            VaspOptions,
            {"version": "6.4.2", "setups": {"PD": "_pv"}},
            "`setups`: `PD` is not an element; did you mean Pd",
        ),
        (GpawOptions, {"kspacing": -1.0}, "`kspacing`: Input should be greater than 0, got -1.0"),
    ],
)
def test_wrong_options_are_named(model, options, words):
    with pytest.raises(SettingsError, match=words):
        checked_options(model, options)


def test_right_ones_are_kept():
    options = checked_options(GpawOptions, {"moments": {"Ni": 2.0, "O": [1.0, -1.0]}, "hubbard": {"Ni": {"d": 6.0}}})
    assert options.moments == {"Ni": 2.0, "O": [1.0, -1.0]}
