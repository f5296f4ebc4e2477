"""What is on this RS-485 line? Only reads are sent, and every profile that explains the answers is named.

    addresses ─▶ is anyone there? ─▶ every profile's blocks ─▶ candidates: profile, readings, plausibility

Some devices answer the same questions with other numbers. Then both readings are given, and a person must decide:
compare with a thermometer, breathe on the probe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from edge.clock import Clock
from edge.errors import SensorError
from edge.readings import Reading
from edge.sensors.modbus_frame import Block
from edge.sensors.modbus_line import Line
from edge.sensors.modbus_profile import (
    PROFILES,
    DeviceProfile,
    SerialSettings,
    blocks,
    decode_points,
    load_device,
)

Answers = Mapping[Block, tuple[int, ...] | str]
"""What a device said to each block: its values, or a reason like `exception_2`, `no_answer`."""
USUAL = {"Cel": (-45, 50), "%RH": (15, 100)}
"""What is measured in a shop, its freezers included."""
LEAST = 0.5
"""A candidate explains at least so much of what the best one does."""
REFUSALS = ("missing", "no_answer", "bad_frame", "exception_", "out_of_range", "no_number")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One profile that explains what a device answered.

    `plausibility` is from 0 to 1: the mean of its points, of which a usual value counts 1, an unusual one 0.6, a
    probe that the profile knows to be missing 0.5, one that is broken by its word 0.4, and anything else
    0; times the share of the registers that the device answered which the profile explains.
    """

    device: str
    offset: int
    readings: tuple[Reading, ...]
    plausibility: float


@dataclass(frozen=True, slots=True)
class Finding:
    """A device on the line; its candidates, the most plausible first.

    Without candidates, `why` says what came from that address; `garbled` where not even that an answer came is sure.
    """

    port: str
    serial: SerialSettings
    address: int
    candidates: tuple[Candidate, ...]
    why: str = ""
    garbled: bool = False

    @property
    def sure(self) -> bool:
        """Whether only one profile explains it."""
        return len(self.candidates) == 1


def load_all() -> dict[str, DeviceProfile]:
    """Every shipped profile by its name; ConfigError where one is broken."""
    return {path.stem: load_device(path.stem) for path in sorted(PROFILES.glob("*.toml"))}


def serials(profiles: Iterable[DeviceProfile]) -> tuple[SerialSettings, ...]:
    """How lines may be set up, the likeliest first."""
    known = Counter(way for profile in profiles for way in (profile.serial, *profile.other_serial))
    return tuple(way for way, _ in known.most_common())


def candidates(profiles: Mapping[str, DeviceProfile], answers: Answers, t: float = 0.0) -> tuple[Candidate, ...]:
    """The profiles that explain a device's answers, the most plausible first."""
    values: dict[tuple[int, int], int] = {}
    for block, said in answers.items():
        if not isinstance(said, str):
            values.update({(block.function, at): value for at, value in enumerate(said, block.first)})
    found = []
    for name, profile in profiles.items():
        for offset in profile.offsets:
            on_wire = profile.on_wire(offset)
            readings = decode_points(on_wire, values, name, t)
            explained = values.keys() & {(point.function, place) for point in on_wire.points
                                         for place in point.places()}
            mean = sum(map(_plausible, readings)) / len(readings)
            found.append(Candidate(name, offset, readings, mean * len(explained) / len(values) if values else 0.0))
    best = max((candidate.plausibility for candidate in found), default=0.0)
    likely = [candidate for candidate in found if 0 < candidate.plausibility >= LEAST * best]
    return tuple(sorted(likely, key=lambda each: (-each.plausibility, each.device, abs(each.offset))))


def _plausible(reading: Reading) -> float:
    if reading.value is None:
        reason = reading.quality.removeprefix("bad:")
        return 0.0 if reason.startswith(REFUSALS) else 0.5 if reason == "no_probe" else 0.4
    least, most = USUAL.get(reading.unit, (Decimal("-Infinity"), Decimal("Infinity")))
    return 1.0 if least <= Decimal(reading.value) <= most else 0.6


def probe_line(line: Line, addresses: Iterable[int], profiles: Mapping[str, DeviceProfile], clock: Clock, *,
               timeout_s: float = 0.2, limit_s: float = 60.0) -> Iterator[Finding]:
    """Each device that answers on an open line, as soon as it is known.

    At most `timeout_s` for each question, and about `limit_s` for all of them. SensorError `time_up` at the end where
    not every address could be asked; `unplugged` or `line_busy` at once.
    """
    questions = _questions(profiles)
    knocks = _knocks(questions)
    until = clock.monotonic() + limit_s
    left = list(addresses)
    while left:
        address = left[0]
        answers: dict[Block, tuple[int, ...] | str] = {}
        for block in (*knocks, *(question for question in questions if question not in knocks)):
            if clock.monotonic() > until:
                raise SensorError("time_up", f"{line.port}: in {limit_s:g} s, these addresses were not all asked: "
                                  f"{', '.join(map(str, left))}")
            if block not in knocks and not _anyone(answers):
                break
            answers[block] = _ask(line, address, block, timeout_s)
        left.pop(0)
        if _anyone(answers):
            yield _finding(line, address, profiles, answers, clock.now())


def _finding(line: Line, address: int, profiles: Mapping[str, DeviceProfile], answers: Answers, t: float) -> Finding:
    found = candidates(profiles, answers, t)
    garbled = all(said in ("bad_frame", "no_answer") for said in answers.values())
    why = "" if found else ("bytes that are no answer: two devices with one address, another baud rate, or no Modbus"
                            if garbled else "it answers, and no profile explains what it says")
    return Finding(line.port, line.serial, address, found, why, garbled)


def _anyone(answers: Answers) -> bool:
    return any(said != "no_answer" for said in answers.values())


def _ask(line: Line, address: int, block: Block, timeout_s: float) -> tuple[int, ...] | str:
    try:
        return line.ask(address, block, timeout_s)
    except SensorError as error:
        if error.reason in ("no_answer", "bad_frame") or error.reason.startswith("exception_"):
            return error.reason
        raise


def _questions(profiles: Mapping[str, DeviceProfile]) -> tuple[Block, ...]:
    """Every request of every profile, once, the shorter ones first."""
    every = {block for profile in profiles.values() for offset in profile.offsets
             for block in blocks(profile.on_wire(offset))}
    return tuple(sorted(every, key=lambda block: (block.length, block)))


def _knocks(questions: tuple[Block, ...]) -> tuple[Block, ...]:
    """Requests of which a device of any profile answers one: cheap ones are silent where they know no such register."""
    first: dict[tuple[int, int], Block] = {}
    for block in questions:
        first.setdefault((block.function, block.first // 256), block)
    return tuple(first.values())
