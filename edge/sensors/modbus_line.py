"""One RS-485 line, opened once and shared by its devices: one is asked at a time, and heard before the next is.

    turn ─▶ wait for a quiet line, drop what came unasked ─▶ request ─▶ bytes ─▶ answer ─▶ next turn

The time of an answer is bounded for each device, and everything that was wrong on the line is counted.
"""

from __future__ import annotations

import select
import threading
from collections import Counter
from collections.abc import Mapping, Sequence

import serial

from edge.clock import Clock
from edge.errors import SensorError
from edge.sensors.driver import open_port, plugged
from edge.sensors.modbus_frame import LONGEST, Block, answer_bytes, find_answer, request, strangers, without_echo
from edge.sensors.modbus_profile import SerialSettings
from edge.sensors.modbus_turns import Turns

QUIET_S = 0.2
"""A line that is not silent for so long between two frames has somebody on it who does not listen."""
STALL_S = 0.05
"""As many bytes as an answer has, none that is one, and no more for so long: no answer will come."""


class Line:
    """An RS-485 line for any number of threads.

    `counts` says how often each of these happened: `asked`, `ok`, or the reason of a SensorError; `stranger` is an
    answer of another device that came too late or unasked, `echo` an adapter that hears itself.
    """

    def __init__(self, port: str, settings: SerialSettings, clock: Clock) -> None:
        self.port, self.serial = port, settings
        self.users = 0
        self.counts: Counter[str] = Counter()
        self._clock = clock
        self._turns = Turns(clock.monotonic)
        self._lock = threading.Lock()
        self._serial: serial.Serial | None = None
        # Eleven bits to a character; from 19200 on the silence is fixed (Modbus over serial line V1.02, 2.5.1.1).
        self._silence_s = 3.5 * 11 / settings.baudrate if settings.baudrate <= 19200 else 0.00175

    def connect(self) -> None:
        """Open the port where it is not; SensorError `no_port`, `no_permission`, `port_busy` or `port_settings`."""
        with self._lock:
            self._opened()

    def join(self, address: int, period_s: float | None, timeout_s: float) -> None:
        """Tell of a device: how often it will be read, and how long it may take to answer."""
        self._turns.knows(address, period_s, timeout_s)

    def read(self, address: int, blocks: Sequence[Block]) -> dict[tuple[int, int], int | str]:
        """By (function, register), the raw values of all blocks of a device that has joined.

        Waits for its turn; then it takes its `timeout_s` for each block at most. A device that said nothing twice in
        a row is not asked every time: the line belongs to those that answer. Where the device refuses a block, which
        some firmware does not have, its registers have the reason, `exception_<code>`.

        SensorError `no_answer`; `bad_frame` (bytes, but no answer with a right CRC), `exception_<code>` where the
        device refused everything, `line_busy` where somebody talks without end, or `unplugged`.
        """
        if (rests_s := self._turns.rests(address)) > 0:
            raise SensorError("no_answer", f"address {address} on {self.port} has been silent; it is asked again in "
                              f"{rests_s:.1f} s, so that the others keep their time")
        values: dict[tuple[int, int], int | str] = {}
        refused: list[SensorError] = []
        with self._turns.turn(address) as timeout_s, self._lock:
            for block in blocks:
                got: Sequence[int | str]
                try:
                    got = self._read(address, block, timeout_s)
                except SensorError as error:
                    if not error.reason.startswith("exception_"):
                        raise
                    refused.append(error)
                    got = [error.reason] * block.length
                values.update({(block.function, at): value for at, value in enumerate(got, block.first)})
        if len(refused) == len(blocks):
            raise refused[0]
        return values

    def ask(self, address: int, block: Block, timeout_s: float) -> tuple[int, ...]:
        """One block's values, of a device that need not have joined nor answered before; SensorError as `read`."""
        self._turns.knows(address, None, timeout_s)
        with self._turns.turn(address) as time_s, self._lock:
            return self._read(address, block, time_s)

    def close(self) -> None:
        """Let the port go."""
        with self._lock:
            self._drop()

    def _read(self, address: int, block: Block, timeout_s: float) -> tuple[int, ...]:
        self.counts["asked"] += 1
        try:
            with plugged(self.port):
                values = self._ask(self._opened(), address, block, timeout_s)
        except SensorError as error:
            self.counts[error.reason] += 1
            if error.reason in ("unplugged", "no_port"):
                self._drop()
            else:
                self._turns.note(address, heard=error.reason != "no_answer")
            raise
        self.counts["ok"] += 1
        self._turns.note(address, heard=True)
        return values

    def _ask(self, port: serial.Serial, address: int, block: Block, timeout_s: float) -> tuple[int, ...]:
        self._wait_for_silence(port)
        asked = request(address, block)
        port.write(asked)
        deadline = self._clock.monotonic() + timeout_s
        heard, whole = b"", answer_bytes(block)
        # An echo and a late answer of another device may stand before the answer.
        while len(heard) < 3 * LONGEST and (left_s := deadline - self._clock.monotonic()) > 0:
            stalled = len(without_echo(asked, heard)) >= whole and not strangers(without_echo(asked, heard))
            more = _hear(port, min(left_s, STALL_S) if stalled else left_s)
            if not more:
                break
            heard += more
            values = find_answer(address, block, heard)
            if values is not None:
                self._count_guests(asked, heard)
                return values
        raise self._misfit(address, asked, heard, timeout_s)

    def _wait_for_silence(self, port: serial.Serial) -> None:
        """Drop what came unasked or too late, until nobody has spoken for three and a half characters."""
        deadline = self._clock.monotonic() + QUIET_S
        dropped = b""
        while more := _hear(port, self._silence_s):
            dropped = (dropped + more)[-LONGEST:]
            if self._clock.monotonic() > deadline:
                raise SensorError("line_busy", f"{self.port} is never silent: {dropped[:16].hex(' ')}… comes unasked; "
                                  "a device that reports by itself, a second master, or a line without termination?")
        self.counts["stranger"] += len(strangers(dropped))

    def _count_guests(self, asked: bytes, heard: bytes) -> None:
        rest = without_echo(asked, heard)
        self.counts["echo"] += rest != heard
        self.counts["stranger"] += max(0, len(strangers(rest)) - 1)

    def _misfit(self, address: int, asked: bytes, heard: bytes, timeout_s: float) -> SensorError:
        """Why there is no value in what was heard."""
        rest = without_echo(asked, heard)
        others = strangers(rest)
        self.counts["stranger"] += len(others)
        at = f"address {address} on {self.port}"
        if not heard:
            return SensorError("no_answer", f"{at}: silence in {timeout_s:.2g} s")
        if not rest:
            return SensorError("no_answer", f"{at}: the adapter's own echo and nothing else in {timeout_s:.2g} s")
        if others:
            return SensorError("no_answer", f"{at}: only address {', '.join(map(str, others))} answered")
        return SensorError("bad_frame", f"{at}: {len(rest)} bytes, but no answer with a right CRC: "
                           f"{rest[:16].hex(' ')}; noise, two devices with one address, or another baud rate?")

    def _opened(self) -> serial.Serial:
        if self._serial is None:
            self._serial = open_port(self.port, **self.serial.model_dump(), timeout=0.5, write_timeout=0.5)
        return self._serial

    def _drop(self) -> None:
        if self._serial is not None:
            self._serial.close()
            self._serial = None


def _hear(port: serial.Serial, patience_s: float) -> bytes:
    """What has come, waiting for the first byte; empty after `patience_s`.

    pyserial's own timeout cannot change without setting the line up anew, which some adapters refuse.
    """
    ready, _, _ = select.select([port], [], [], patience_s)
    data: bytes = port.read(max(1, port.in_waiting)) if ready else b""
    return data


_lines: dict[str, Line] = {}
_lines_lock = threading.Lock()


def join_line(port: str, settings: SerialSettings, clock: Clock) -> Line:
    """The line at `port`, with one user more; SensorError `line_settings` where others use it differently."""
    with _lines_lock:
        line = _lines.setdefault(port, Line(port, settings, clock))
        if line.serial != settings:
            raise SensorError("line_settings", f"{port} is open with {line.serial}, not {settings}: "
                              "devices on one line share baud rate, parity and stop bits")
        line.users += 1
        return line


def leave_line(line: Line) -> None:
    """One user less; the last one closes the port."""
    with _lines_lock:
        line.users -= 1
        if line.users == 0:
            del _lines[line.port]
            line.close()


def counts() -> Mapping[str, Mapping[str, int]]:
    """What happened on each open line, by its port, as `Line.counts`."""
    with _lines_lock:
        return {port: dict(line.counts) for port, line in _lines.items()}
