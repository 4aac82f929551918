"""No bytes make a parser at the owner's side raise anything but its own error."""

import pytest
from fuzzing import client_targets, image_targets
from fuzzing.law import Target
from fuzzing.properties import check_found, check_law

PARSERS = pytest.mark.parametrize(
    "target", [*client_targets.TARGETS, *image_targets.TARGETS], ids=lambda target: target.name
)

# The library warns of what it will refuse one day; the parsers' own checks do not rest on it.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


@PARSERS
def test_a_parser_gives_a_value_or_its_own_error_of_one_line(target: Target) -> None:
    check_law(target)


@PARSERS
def test_what_a_fuzzer_once_found_is_refused_properly(target: Target) -> None:
    check_found(target)
