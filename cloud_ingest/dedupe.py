"""Which records of a stream are new: one contiguous mark, and the few ranges above it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Range = tuple[int, int]
MAX_AHEAD = 1000
"""Ranges above the mark: a stream in more pieces than this is no device's that sends its oldest first."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Everything up to `mark` is there, and so are the inclusive ranges in `ahead`, sorted and apart."""

    mark: int = 0
    ahead: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The new sequences as inclusive ranges, the marks after them, and how many will never come."""

    fresh: tuple[Range, ...]
    marks: Marks
    missing: int = 0


def admit(marks: Marks, lo: int, seq: int, n: int, gaps: Iterable[Range] = ()) -> Admitted:
    """What is new among `seq` .. `seq + n - 1`, of which `gaps` (within it, sorted and apart) will never come.

    `lo` is the oldest sequence that the device still holds. It deletes only what the cloud said it has, so a mark
    below `lo - 1` means a new or restored cloud: what lies between is counted as missing, and waited for no more.
    """
    marks, missing = _rise(marks, lo - 1)
    new = _without([(seq, seq + n - 1)], [(1, marks.mark), *marks.ahead])
    fresh = _without(new, gaps)
    return Admitted(tuple(fresh), _join(marks, new), missing + _size(new) - _size(fresh))


def too_fragmented(before: Marks, after: Marks) -> bool:
    """Whether a stream would be in too many pieces; one that already is may still become whole."""
    return len(after.ahead) > max(MAX_AHEAD, len(before.ahead))


def _size(ranges: Iterable[Range]) -> int:
    return sum(end - start + 1 for start, end in ranges)


def _without(ranges: Iterable[Range], there: Iterable[Range]) -> list[Range]:
    """The parts of `ranges` outside `there`; both are sorted and apart."""
    found, left, none = iter(there), list[Range](), (1 << 62, 1 << 62)
    first, end = next(found, none)
    for start, last in ranges:
        at = start
        while end < at:
            first, end = next(found, none)
        while at <= last:
            if first > at:
                left.append((at, min(first - 1, last)))
            at = end + 1
            if at <= last:
                first, end = next(found, none)
    return left


def _rise(marks: Marks, floor: int) -> tuple[Marks, int]:
    if floor <= marks.mark:
        return marks, 0
    had = sum(max(0, min(end, floor) - start + 1) for start, end in marks.ahead)
    missing = floor - marks.mark - had
    kept = tuple((max(start, floor + 1), end) for start, end in marks.ahead if end > floor)
    return _join(Marks(floor, kept), []), missing


def _join(marks: Marks, fresh: list[Range]) -> Marks:
    mark, apart = marks.mark, list[Range]()
    for start, end in sorted([*marks.ahead, *fresh]):
        if start <= mark + 1:
            mark = max(mark, end)
        elif apart and start <= apart[-1][1] + 1:
            apart[-1] = (apart[-1][0], max(apart[-1][1], end))
        else:
            apart.append((start, end))
    return Marks(mark, tuple(apart))
