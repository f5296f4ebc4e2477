"""Which records of a stream are new: one contiguous mark, and the few ranges above it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[int, int]


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


def admit(marks: Marks, lo: int, seq: int, n: int) -> Admitted:
    """What is new among `seq` .. `seq + n - 1`.

    `lo` is the oldest sequence that the device still holds. It deletes only what the cloud said it has, so a mark
    below `lo - 1` means a new or restored cloud: what lies between is counted as missing, and waited for no more.
    """
    marks, missing = _rise(marks, lo - 1)
    last = seq + n - 1
    fresh: list[Range] = []
    at = max(seq, marks.mark + 1)
    for start, end in marks.ahead:
        if at > last:
            break
        if end < at:
            continue
        if start > at:
            fresh.append((at, min(start - 1, last)))
        at = end + 1
    if at <= last:
        fresh.append((at, last))
    return Admitted(tuple(fresh), _join(marks, fresh), missing)


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
