"""Marks against a plain set of everything that came."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.dedupe import MAX_AHEAD, Marks, admit, too_fragmented


def spread(ranges: tuple[tuple[int, int], ...]) -> list[int]:
    return [seq for start, end in ranges for seq in range(start, end + 1)]


def ranges_of(seqs: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The sequences as inclusive ranges, sorted and apart."""
    found: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if found and seq == found[-1][1] + 1:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    return tuple(found)


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


def test_a_gap_moves_the_mark_and_counts_as_missing_once() -> None:
    told = admit(Marks(), 1, 1, 10, ((3, 4), (9, 9)))
    assert (spread(told.fresh), told.marks, told.missing) == ([1, 2, 5, 6, 7, 8, 10], Marks(10), 3)
    again = admit(told.marks, 1, 1, 12, ((3, 4), (9, 9)))
    assert (again.fresh, again.marks, again.missing) == (((11, 12),), Marks(12), 0)


def test_what_came_before_it_was_called_a_gap_is_not_missing() -> None:
    came = admit(Marks(), 1, 5, 2)
    told = admit(came.marks, 1, 1, 10, ((4, 6),))
    assert (told.missing, told.marks, spread(told.fresh)) == (1, Marks(10), [1, 2, 3, 7, 8, 9, 10])


GAPS = st.sets(st.integers(1, 60))
CUTS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 25)), max_size=12)


@given(st.integers(1, 60), GAPS, CUTS, st.randoms(use_true_random=False))
def test_any_order_and_any_cut_of_a_stream_with_gaps_ends_in_the_same_state(
        length: int, gaps: set[int], cuts: list[tuple[int, int]], shuffle: Random) -> None:
    gaps = {seq for seq in gaps if seq <= length}
    batches = [(seq, min(n, length - seq + 1)) for seq, n in cuts if seq <= length]
    batches += [(seq, min(7, length - seq + 1)) for seq in range(1, length + 1, 7)]
    shuffle.shuffle(batches)
    marks, fresh, missing = Marks(), list[int](), 0
    for seq, n in batches:
        admitted = admit(marks, 1, seq, n, ranges_of(gaps & set(range(seq, seq + n))))
        marks, missing = admitted.marks, missing + admitted.missing
        fresh += spread(admitted.fresh)
    assert marks == Marks(length)
    assert sorted(fresh) == sorted(set(range(1, length + 1)) - gaps)
    assert missing == len(gaps)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 20), GAPS, st.integers(1, 30)), max_size=25))
def test_contradicting_batches_still_follow_the_set_model(batches: list[tuple[int, int, set[int], int]]) -> None:
    """`have` is everything that is there; a gap is missing unless it came first; a floor is a gap up to itself."""
    marks, have = Marks(), set[int]()
    for seq, n, holes, low in batches:
        lo, own = min(low, seq), set(range(seq, seq + n))
        gone = set(range(1, lo)) - have
        new = own - have - gone
        admitted = admit(marks, lo, seq, n, ranges_of(holes & own))
        assert spread(admitted.fresh) == sorted(new - holes)
        assert admitted.missing == len(gone) + len(new & holes)
        have |= own | gone
        marks = admitted.marks
        contiguous = next(i for i in range(200) if i + 1 not in have)
        assert marks == Marks(contiguous, ranges_of(each for each in have if each > contiguous))


def test_a_stream_in_too_many_pieces_is_told_from_one_that_becomes_whole() -> None:
    full = Marks(0, tuple((2 * i, 2 * i) for i in range(1, MAX_AHEAD + 1)))
    assert too_fragmented(full, admit(full, 1, 5000, 1).marks)
    assert not too_fragmented(full, admit(full, 1, 1, 1).marks)
    beyond = Marks(0, (*full.ahead, (5000, 5000)))
    assert not too_fragmented(beyond, admit(beyond, 1, 3, 1).marks)
