"""A frame's stated age is never less than its true one, whatever stands still on its way; a stream of even pace is new.

The true time of a frame is what the tests know and `Pace` does not. The least time on the way, which nobody can
measure from one end, is taken as nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edge.vision.cameras.pace import Pace

ROUNDING = 1e-6


def arrivals(taken: Sequence[float], stalls: Sequence[tuple[float, float]], burst_s: float) -> list[float]:
    """When frames come that go through one pipe in order, which stands still during `stalls` (start, length)."""
    out: list[float] = []
    for t in taken:
        at = max(t, out[-1] + burst_s if out else t)
        for start, length in stalls:
            if start <= at < start + length:
                at = start + length
        out.append(at)
    return out


_INTERVAL = st.sampled_from([0.04, 0.1, 0.5, 1.0])
_STALLS = st.lists(st.tuples(st.floats(1, 30), st.floats(0.01, 2.5)), max_size=4).map(sorted)


@given(_INTERVAL, _STALLS, st.floats(0, 0.2), st.floats(-1e6, 1e6), st.floats(-200e-6, 200e-6))
def test_by_its_stamps_a_frame_is_never_older_than_it_says(
        interval: float, stalls: list[tuple[float, float]], burst: float, origin: float, drift: float) -> None:
    taken = [k * interval for k in range(round(30 / interval))]
    pace = Pace(0.0)
    for t, at in zip(taken, arrivals(taken, stalls, burst * interval), strict=True):
        stated = pace.step(at, origin + t * (1 + drift))
        # Clocks that part by 200 ppm in 30 s may move the map by 6 ms.
        assert stated is None or stated <= t + 0.007


@given(_INTERVAL, st.lists(st.tuples(st.floats(6, 30), st.floats(0.01, 2.5)), max_size=1), st.floats(0, 0.2))
def test_by_their_arrival_a_frame_is_never_older_than_it_says(
        interval: float, stalls: list[tuple[float, float]], burst: float) -> None:
    taken = [k * interval for k in range(1, round(30 / interval))]
    pace = Pace(0.0)
    for t, at in zip(taken, arrivals(taken, stalls, burst * interval), strict=True):
        stated = pace.step(at)
        assert stated is None or stated <= t + ROUNDING


@given(_INTERVAL, st.booleans())
def test_an_even_stream_is_at_most_one_interval_behind(interval: float, stamped: bool) -> None:
    pace = Pace(0.0)
    for k in range(1, 200):
        t = k * interval
        stated = pace.step(t, 77 + t if stamped else None)
        if k > 1:
            assert stated is not None
            assert t - stated <= interval + 0.001


def test_what_piled_up_before_the_stream_opened_is_not_given_out_as_new() -> None:
    pace = Pace(0.0)
    for k in range(20):
        assert pace.step(2.0 + k * 0.001, k * 0.1) is None
    assert pace.step(2.1, 2.0) is not None


def test_a_camera_that_sets_its_clock_is_believed_again_after_two_frames() -> None:
    pace = Pace(0.0)
    stamps = [100 + k * 0.1 for k in range(1, 20)] + [k * 0.1 for k in range(20)]
    stated = [pace.step(k * 0.1, stamp) for k, stamp in enumerate(stamps, 1)]
    assert [k for k, t in enumerate(stated) if t is None] == [0, 19]


def test_a_stream_that_falls_behind_grows_old() -> None:
    pace = Pace(0.0)
    ages = []
    for k in range(1, 100):
        stated = pace.step(k * 0.12, k * 0.1)  # each frame takes 0.12 s to decode, and 10 a second come
        ages.append(k * 0.12 - (stated if stated is not None else 0.0))
    assert ages[-1] > 1.5


def test_a_camera_whose_clock_is_slow_is_not_taken_for_late() -> None:
    pace, t, stated = Pace(0.0), 0.0, None
    for k in range(1, 20_000):
        t = float(k)
        stated = pace.step(t, t * (1 - 200e-6))
    assert stated is not None
    assert t - stated < 1.1
