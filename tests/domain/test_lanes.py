"""Who shall have how many lanes."""

from hypothesis import given
from hypothesis import strategies as st

from rowcall.listener.lanes import Roll, shares
from rowcall.postgres.log import LANES


def test_evenly_and_the_older_ones_one_more() -> None:
    assert shares({3: 16}) == {3: 16}
    assert shares({5: 16, 3: 16, 4: 16}) == {3: 6, 4: 5, 5: 5}


def test_nobody_more_than_it_takes() -> None:
    assert shares({1: 2, 2: 16, 3: 16}) == {1: 2, 2: 7, 3: 7}
    assert shares({1: 2, 2: 3}) == {1: 2, 2: 3}
    assert shares({}) == {}


@given(st.dictionaries(st.integers(1, 50), st.integers(1, LANES), max_size=30))
def test_all_lanes_are_given_as_long_as_somebody_takes_them(limits: dict[int, int]) -> None:
    given_lanes = shares(limits)
    assert sum(given_lanes.values()) == min(LANES, sum(limits.values()))
    hungry = [lanes for worker, lanes in given_lanes.items() if lanes < limits[worker]]
    # Who could take more has no more than one less than anybody.
    assert all(max(given_lanes.values()) - lanes <= 1 for lanes in hungry)


def test_what_a_roll_asks_for() -> None:
    roll = Roll({1: 16, 2: 16}, [(1, 12), (None, 4)])
    assert (roll.surplus(1), roll.surplus(2), roll.has_free(), roll.has_left_behind()) == (4, -8, True, False)
    assert Roll({1: 16}, [(1, 8), (7, 8)]).has_left_behind()
