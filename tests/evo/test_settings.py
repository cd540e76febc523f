"""campaign.toml: every key has a default, and every mistake one clear line."""

import tomllib

import pytest

from evo.settings import OperatorWeights, SettingsError, load, parse, template


def test_template_is_valid_and_equals_the_defaults():
    written = parse(tomllib.loads(template(["Cu", "Pt"])))
    assert written == parse({"system": {"elements": ["Pt", "Cu"]}})


def test_template_names_every_key():
    text = template(["Cu"])
    for section, keys in parse({"system": {"elements": ["Cu"]}}).model_dump().items():
        assert f"[{section}]" in text
        for key, value in keys.items():
            assert key in text
            if isinstance(value, dict) and value:
                assert all(inner in text for inner in value)


def test_elements_follow_from_the_formula():
    assert parse({"system": {"formula": "Pd4Cu4"}}).system.elements == ["Cu", "Pd"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"system": {"elements": ["Cu"]}, "serach": {}}, "unknown key `serach`; did you mean `search`?"),
        ({"system": {"elements": ["Cu"], "atom": [1, 2]}}, "unknown key `system.atom`; did you mean `atoms`?"),
        ({"system": {"elements": ["Cu"], "atoms": [3, 2]}}, "1 <= fewest <= most"),
        ({"system": {"elements": ["Cu"], "atoms": [1, "x"]}}, "got 'x'"),
        ({"system": {"elements": ["Uu"]}}, "`Uu` is not an element"),
        (
            {"system": {"elements": ["NiO"]}},
            "`NiO` is not an element; write Ni-O for its elements, Ni1O1 for this composition",
        ),
        ({"system": {"elements": ["cu"]}}, "`cu` is not an element; did you mean Cu?"),
        ({"system": {"elements": []}}, "name at least one element"),
        ({"system": {"formula": "Cu4(("}}, "cannot be read"),
        ({"system": {"formula": "Cu4", "elements": ["Pd"]}}, "differ"),
        ({}, "`system` is missing"),
        ({"system": {"elements": ["Cu"]}, "reference": {"engine": "ase"}}, "package.module:Class"),
        ({"system": {"elements": ["Cu"]}, "reference": {"engine": "none"}}, "network.library"),
        ({"system": {"elements": ["Cu"]}, "search": {"chunks": 0}}, "greater than or equal to 1"),
        (
            {"system": {"elements": ["Cu"]}, "reference": {"final_calls": 300}},
            "`final_calls` must be less than max_calls, 300",
        ),
        ({"system": {"elements": ["Cu"]}, "reference": {"final_calls": 4}}, "enough for `final_steps`"),
        ({"system": {"elements": ["Cu"], "pressure_GPa": float("nan")}}, "finite number"),
        ({"system": {"formula": "Cu0Pd4"}}, "has none of an element"),
        ({"system": {"elements": ["Cu"]}, "gate": {"volume_scale": [2.5, 0.4]}}, "[smallest, largest]"),
        (
            {"system": {"elements": ["Cu"]}, "search": {"operators": dict.fromkeys(OperatorWeights.model_fields, 0)}},
            "at least one operator must have a weight above 0",
        ),
    ],
)
def test_mistakes_are_one_clear_line(data, expected):
    with pytest.raises(SettingsError) as error:
        parse(data, "campaign.toml")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match="evo init"):
        load(tmp_path / "campaign.toml")
    (tmp_path / "campaign.toml").write_text("[system\n")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(tmp_path / "campaign.toml")


def test_digest_changes_with_every_setting():
    one = parse({"system": {"elements": ["Cu"]}})
    other = parse({"system": {"elements": ["Cu"]}, "campaign": {"seed": 1}})
    assert one.digest() != other.digest()
