"""English numbers are said with the sounds there are."""

import pytest

from pbx.numbers_spoken import LARGEST, key, quantity


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (7, "7"),
        (13, "13"),
        (20, "20"),
        (21, "20 1"),
        (90, "90"),
        (100, "1 hundred"),
        (115, "1 hundred 15"),
        (342, "3 hundred 40 2"),
        (1000, "1 thousand"),
        (1001, "1 thousand 1"),
        (20_300, "20 thousand 3 hundred"),
        (1_000_000, "1 million"),
        (LARGEST, "9 hundred 90 9 million 9 hundred 90 9 thousand 9 hundred 90 9"),
    ],
)
def test_a_quantity_is_said_as_people_say_it(value: int, said: str):
    assert quantity(value) == tuple(said.split())


@pytest.mark.parametrize("value", [-1, LARGEST + 1])
def test_what_the_sounds_cannot_say_is_left_to_the_voice(value: int):
    assert quantity(value) is None


def test_keys_have_sounds_and_letters_have_none():
    assert [key(character) for character in "07*#+a\u0663"] == ["0", "7", "star", "pound"] + [
        None
    ] * 3
