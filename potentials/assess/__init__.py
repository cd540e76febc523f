"""Assessment: a library, or any two calculators, beside each other in what a materials scientist would check.

from potentials.assess import Reference, Side, assess

reference = Side.of_reference(Reference.load("ase.calculators.emt:EMT", {}, Path("answers.jsonl")))
found = assess(Library.open("lib"), reference, properties=["eos", "elastic"])
"""

from potentials.assess.assessment import assess, compare
from potentials.assess.errors import errors
from potentials.assess.held_out import foreign, held_out
from potentials.assess.properties import PROPERTIES
from potentials.assess.record import write_assessment
from potentials.assess.reference import Reference, UsageError
from potentials.assess.results import Assessment, AssessmentError, Compared, Deviation, ErrorSummary
from potentials.assess.settings import Settings
from potentials.assess.side import Side

__all__ = [
    "PROPERTIES",
    "Assessment",
    "AssessmentError",
    "Compared",
    "Deviation",
    "ErrorSummary",
    "Reference",
    "Settings",
    "Side",
    "UsageError",
    "assess",
    "compare",
    "errors",
    "foreign",
    "held_out",
    "write_assessment",
]
