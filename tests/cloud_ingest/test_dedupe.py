"""Marks against a plain set of everything that came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.dedupe import Marks, admit


def spread(ranges: tuple[tuple[int, int], ...]) -> list[int]:
    return [seq for start, end in ranges for seq in range(start, end + 1)]


def test_a_batch_in_order_is_new_and_its_repeat_is_not() -> None:
    first = admit(Marks(), 1, 1, 10)
    assert (first.fresh, first.marks) == (((1, 10),), Marks(10))
    assert admit(first.marks, 1, 1, 10).fresh == ()


def test_a_gap_holds_the_mark_until_it_is_filled() -> None:
    late = admit(Marks(10), 1, 16, 5)
    assert late.marks == Marks(10, ((16, 20),))
    assert admit(late.marks, 1, 9, 9).marks == Marks(20)


def test_a_new_cloud_waits_for_nothing_that_the_device_no_longer_has() -> None:
    admitted = admit(Marks(), 1001, 1001, 10)
    assert (admitted.marks, admitted.missing) == (Marks(1010), 1000)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), max_size=30))
def test_any_order_any_overlap_admits_each_sequence_once(batches: list[tuple[int, int]]) -> None:
    marks, have = Marks(), set[int]()
    for seq, n in batches:
        admitted = admit(marks, 1, seq, n)
        assert spread(admitted.fresh) == sorted(set(range(seq, seq + n)) - have)
        have |= set(range(seq, seq + n))
        marks = admitted.marks
        contiguous = next(i for i in range(100) if i + 1 not in have)
        assert marks.mark == contiguous
        assert set(spread(marks.ahead)) == {each for each in have if each > contiguous}
        assert all(a[1] + 1 < b[0] for a, b in zip(marks.ahead, marks.ahead[1:], strict=False))


@given(st.sets(st.integers(1, 40)), st.integers(1, 40))
def test_a_rising_floor_counts_exactly_what_never_came(have: set[int], lo: int) -> None:
    marks = Marks()
    for seq in have:
        marks = admit(marks, 1, seq, 1).marks
    admitted = admit(marks, lo, max(lo, 41), 1)
    assert admitted.missing == len(set(range(1, lo)) - have)
