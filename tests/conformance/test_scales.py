"""What every scale's decoder promises: its manual's frames, and no weight from anything that is not one of them."""

from __future__ import annotations

import random
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import SensorError
from edge.sensors.scale import LONGEST, Answer, ScaleProtocol, Stable, first_answer, mask
from edge.sim.scale import INCREMENT, Pan
from edge.sim.scales import VOICES
from tests.conformance.scale_file import SCALES, ScaleFile, load

MANY = 10_000
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=SCALES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def protocol(name: str) -> ScaleProtocol:
    return SCALES[name]


@pytest.fixture
def file(name: str) -> ScaleFile:
    return load(name)


def decoded(protocol: ScaleProtocol, heard: bytes) -> Answer | None:
    """What is made of bytes; None where they are no frame."""
    try:
        found = first_answer(protocol, heard)
    except SensorError:
        return None
    return None if found is None else protocol.follow(None, found)


def test_every_frame_of_its_manual_has_its_meaning(protocol: ScaleProtocol, file: ScaleFile) -> None:
    for vector in file.vectors:
        answer = protocol.follow(None, protocol.decode(vector.frame))
        assert answer == vector.answer, vector.title
        if isinstance(answer, Stable) and isinstance(vector.answer, Stable):
            assert str(answer.value) == str(vector.answer.value), f"{vector.title}: the increment is kept"


def test_a_frame_is_found_behind_any_garbage(protocol: ScaleProtocol, file: ScaleFile) -> None:
    rng = random.Random(1)
    for vector in file.vectors:
        for length in range(1, LONGEST):
            assert decoded(protocol, rng.randbytes(length) + vector.frame) == vector.answer, vector.title


def test_a_frame_is_found_behind_every_half_of_itself(protocol: ScaleProtocol, file: ScaleFile) -> None:
    for vector in file.vectors:
        for length in range(len(vector.frame)):
            heard = vector.frame[:length] + vector.frame
            assert decoded(protocol, heard) == vector.answer, f"{vector.title} behind {length} bytes of it"


def test_every_truncation_is_no_value(protocol: ScaleProtocol, file: ScaleFile) -> None:
    for vector in file.vectors:
        for length in range(len(vector.frame)):
            assert decoded(protocol, vector.frame[:length]) is None, f"{vector.title}, {length} bytes"
            with pytest.raises(SensorError):
                protocol.decode(vector.frame[:length])


def test_every_corrupted_byte_of_a_checked_frame_is_refused(protocol: ScaleProtocol, file: ScaleFile) -> None:
    if not protocol.checked:
        pytest.skip("its frames carry no checksum")
    for vector in file.vectors:
        for at, right in enumerate(vector.frame):
            if at in file.outside:
                continue
            for wrong in range(256):
                frame = vector.frame[:at] + bytes((wrong,)) + vector.frame[at + 1:]
                # Bit 7 of a 7-bit line is no part of the frame.
                same = wrong == right or (protocol.masked and mask(frame) == mask(vector.frame))
                unseen = (wrong ^ right) & (0x7F if protocol.masked else 0xFF) in file.blind
                if not same and not unseen:
                    # Two ways to compute one checksum are both in use: the other one's is right as well.
                    assert decoded(protocol, frame) in (None, vector.answer), f"{vector.title}: byte {at} as {wrong:#x}"


def test_what_the_scale_shows_is_what_is_read(name: str, protocol: ScaleProtocol, file: ScaleFile) -> None:
    voice, rng = VOICES[name](), random.Random(2)
    unit = file.settings.get("unit", "kg")
    request = b"".join(file.exchange)
    for _ in range(MANY):
        weight = Decimal(rng.randrange(0, 30_000)) * INCREMENT["kg"]
        state = rng.choice(["stable"] * 6 + ["motion"] * protocol.tells_motion + ["overload", "underload"])
        tare = Decimal(rng.choice(["0", "0.200"])) if protocol.tells_net else Decimal(0)
        pan = Pan(weight, unit, state, tare)  # type: ignore[arg-type]  # random.choice gives str
        said = voice.speak(pan) or voice.hear(request, pan)
        answer = decoded(protocol, said[len(b"".join(list(file.exchange.values())[:-1])):] if request else said)
        if state == "stable":
            assert isinstance(answer, Stable), (pan, said)
            assert answer.value == weight, (pan, said)
            assert answer.unit in (None, unit)
            assert answer.net in (None, bool(tare))
        else:
            assert not isinstance(answer, Stable), (pan, said)


def test_changed_frames_and_noise_raise_nothing_but_a_sensor_error(protocol: ScaleProtocol, file: ScaleFile) -> None:
    rng = random.Random(3)
    frames = [vector.frame for vector in file.vectors]
    for _ in range(MANY):
        heard = bytearray(rng.choice(frames) if rng.random() < 0.8 else rng.randbytes(rng.randint(0, 40)))
        for _ in range(rng.randint(1, 4)):
            at = rng.randint(0, len(heard))
            heard[at:at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        for view in (bytes(heard), bytes(heard) * 2):
            answer = decoded(protocol, view)
            assert not isinstance(answer, Stable) or answer.value.is_finite()
        with suppress(SensorError):
            protocol.decode(bytes(heard))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_are_an_answer_or_a_sensor_error(data: st.DataObject) -> None:
    protocol = SCALES[data.draw(st.sampled_from(sorted(SCALES)))]
    heard = data.draw(st.binary(max_size=80))
    answer = decoded(protocol, heard)
    assert not isinstance(answer, Stable) or answer.value.is_finite()
