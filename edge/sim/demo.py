"""`make demo`: one shop, a broker and the cloud as separate processes, until Ctrl-C, in a fresh .demo folder.

Starts processes and looks at them from outside only: it reads the feed over HTTP like any client.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge.clock import SystemClock
from edge.errors import CornergridError
from edge.profile import load_profile

PROFILE = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"
HOST = "127.0.0.1"
USUAL = {"mqtt": 18830, "camera": 18831, "http": 18832}
SEED, SPEED = 7, 60
PATIENCE_S = 60.0
COLUMNS = {"sold": "sold", "put_back": "back", "restocked": "stocked", "in_stock_share": "on shelf", "demand": "demand",
           "lost": "lost"}
STOP_S = 4.5  # all processes together, so that Ctrl-C is answered within five seconds
PR_SET_PDEATHSIG = 1
REGISTRY = """\
[[stores]]
id = "store-1"
name = "Corner shop, Unter den Linden"
lat = 52.5163
lon = 13.3777
tz = "Europe/Berlin"
devices = ["{device}"]
"""
MOSQUITTO = "# Anonymous only because it listens on loopback.\nlistener {port} 127.0.0.1\nallow_anonymous true\n"
NATS = """\
host: 127.0.0.1
port: -1
server_name: demo
jetstream {{ store_dir: {store} }}
mqtt {{ host: 127.0.0.1, port: {port} }}
"""

WIDE = 160  # a pipe has no width of its own, and a SKU cut short is none
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
_libc = ctypes.CDLL(None, use_errno=True)


class DemoError(CornergridError):
    """The demo cannot go on; the text says why, with the last lines of the log that matters."""


def die_with_parent() -> None:
    """In a new child: be killed when the launcher dies, however it dies (prctl(2))."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True)
class Plant:
    """The processes of the demo, by name, in the order they were started."""

    folder: Path
    stop: threading.Event
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: list[str]) -> None:
        """Start `command` in a group of its own, its output in logs/NAME.log."""
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603  # our own commands
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent,  # noqa: PLW1509  # one prctl, before any thread
            )

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def watch(self) -> None:
        """DemoError where a process has ended by itself."""
        for name, process in self.running.items():
            if (code := process.poll()) is not None:
                tail = self.log(name).read_text(errors="replace").splitlines()[-15:]
                raise DemoError(f"the {name} ended by itself (exit code {code}); end of {self.log(name)}:\n"
                                + "\n".join(f"  {line}" for line in tail))

    def until(self, happened: Callable[[], bool], what: str) -> bool:
        """Wait for `happened`; False where the demo is stopped meanwhile, DemoError where it takes too long."""
        clock = SystemClock()
        end = clock.monotonic() + PATIENCE_S
        while not self.stop.is_set():
            self.watch()
            if happened():
                return True
            if clock.monotonic() > end:
                raise DemoError(f"not within {PATIENCE_S:.0f} s: {what}; the logs are in {self.folder / 'logs'}")
            self.stop.wait(0.1)
        return False

    def close(self) -> None:
        """Stop what was started, the shop before the cloud, within STOP_S; kill what does not listen."""
        clock = SystemClock()
        end = clock.monotonic() + STOP_S
        for name, process in reversed(self.running.items()):
            # The broker and the cloud stay until the agent has said goodbye; each has its share of the time.
            share = max(0.2, (end - clock.monotonic()) / 2)
            process.terminate()
            try:
                process.wait(share)
            except subprocess.TimeoutExpired:
                out.print(f"{name} did not stop in {share:.1f} s and was killed", style="yellow")
            with_group(process)
        self.running.clear()


def with_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and its children."""
    with contextlib.suppress(ProcessLookupError):  # the whole group has ended, as it should
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free(port: int) -> int:
    """`port`, or another one where it is taken."""
    for wanted in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError(f"no free port on {HOST}")


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def get(address: str) -> Any:
    """The JSON at `address`; None while it does not answer."""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310  # our own http:// on loopback
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
        return None


def broker(folder: Path, port: int, wanted: str | None) -> tuple[str, list[str]]:
    """The broker's name and command: mosquitto where it is, else the nats-server that set-up installed."""
    config = folder / "broker.conf"
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if mosquitto and wanted != "nats":
        config.write_text(MOSQUITTO.format(port=port))
        return "mosquitto (MQTT 5)", [mosquitto, "-c", str(config)]
    nats = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if nats and wanted != "mosquitto":
        config.write_text(NATS.format(port=port, store=json.dumps(str(folder / "nats"))))
        return "nats-server (MQTT 3.1.1)", [nats, "-c", str(config)]
    raise DemoError(f"{wanted or 'a broker'} is not installed: run `make setup`, or sudo apt install mosquitto")


def prepare(folder: Path) -> tuple[Path, dict[str, int]]:
    """A fresh folder with the profile and the registry in it; the ports that the demo uses."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    ports = {name: free(port) for name, port in USUAL.items()}
    text = PROFILE.read_text(encoding="utf-8")
    for name, port in USUAL.items():
        text = text.replace(str(port), str(ports[name]))
    text = re.sub(r'^data = .*$', f"data = {json.dumps(str(folder / 'edge'))}", text, count=1, flags=re.MULTILINE)
    schema = PROFILE.parents[1] / "profile.schema.json"
    profile = folder / "shop.toml"
    profile.write_text(text.replace("../profile.schema.json", str(schema)), encoding="utf-8")
    (folder / "registry.toml").write_text(REGISTRY.format(device=load_profile(profile).device.id), encoding="utf-8")
    return profile, ports


def start(plant: Plant, profile: Path, ports: dict[str, int], wanted: str | None) -> bool:
    """Start everything in order, each when what it needs is there; False where stopped meanwhile."""
    folder, here = plant.folder, Path(sys.executable).parent
    edge, cloud = str(here / "cornergrid-edge"), str(here / "cornergrid-cloud")
    what, command = broker(folder, ports["mqtt"], wanted)
    plant.start("broker", command)
    out.print(f"broker    {what} on {HOST}:{ports['mqtt']}, open to this machine and closed to every other")
    sys.stdout.flush()
    if not plant.until(lambda: listens(ports["mqtt"]), "the broker listens"):
        return False
    plant.start("cloud", [cloud, "run", "--db", str(folder / "cloud.db"), "--broker", f"{HOST}:{ports['mqtt']}",
                          "--http", f"{HOST}:{ports['http']}", "--scope", "operator",
                          "--registry", str(folder / "registry.toml")])
    plant.start("shop", [edge, "sim", str(profile), "--seed", str(SEED), "--speed", str(SPEED),
                         "--truth", str(folder / "truth.jsonl")])
    shop_clock = folder / "edge" / "clock.json"
    ready = plant.until(shop_clock.exists, "the virtual shop opens") and plant.until(
        lambda: listens(ports["http"]), "the cloud answers over HTTP")
    if ready:
        plant.start("agent", [edge, "run", str(profile), "--sim-clock", str(shop_clock)])
        out.print(f"shop      virtual, seed {SEED}, {SPEED} times faster than the wall clock, truth in "
                  f"{folder / 'truth.jsonl'}")
        out.print(f"page      http://{HOST}:{ports['http']}/")
        out.print(f"feed      {feed_address(ports)}")
        out.print(f"logs      {folder / 'logs'}; each demo starts the folder afresh")
    return ready


def feed_address(ports: dict[str, int]) -> str:
    return f"http://{HOST}:{ports['http']}/v1/feed?resolution=8&window=15m&format=json&scope=operator"


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """The feed's rows, whether the answer is the list or an object around it."""
    rows = answer.get("rows", []) if isinstance(answer, dict) else answer
    return [row for row in rows or [] if isinstance(row, dict)]


def demand(rows: list[dict[str, Any]], title: str, last: int = 8) -> Table:
    """The newest rows of the feed: units and the share of the window in stock, by cell, SKU and window (UTC)."""
    table = Table("cell", "sku", "from", *COLUMNS.values(), box=None, title=title, title_justify="left", pad_edge=False)
    table.columns[0].min_width, table.columns[1].min_width = 15, 13  # a cell and a GTIN are copied, so whole
    for row in sorted(rows, key=lambda row: row["start"])[-last:]:
        start = datetime.fromtimestamp(row["start"], UTC)
        numbers = ("-" if row[name] is None else f"{row[name]:.3g}" for name in COLUMNS)
        table.add_row(row["cell"], row["sku"], f"{start:%H:%M}", *numbers)
    return table


def truth(folder: Path) -> dict[str, int]:
    """The level of each slot as it really is; a last line still being written waits."""
    path = folder / "truth.jsonl"
    levels: dict[str, int] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                break
            levels[event["slot"]] = event["level"]
    return levels


def fleet(folder: Path) -> dict[str, Any]:
    """What the cloud knows of the devices, as an operator's script asks for it; empty while it knows nothing."""
    cloud = str(Path(sys.executable).parent / "cornergrid-cloud")
    command = [cloud, "watch", "--json", "--db", str(folder / "cloud.db")]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)  # noqa: S603
    return dict(json.loads(answer.stdout)) if answer.returncode == 0 else {}


def levels(seen: dict[str, Any]) -> dict[str, float]:
    """The level of each slot that the cloud has committed."""
    return {row["name"].split("/")[1]: row["value"] for row in seen.get("telemetry", [])
            if row["name"].startswith("slot/") and row["name"].endswith("/level") and row["value"] is not None}


def committed(seen: dict[str, Any]) -> str:
    """The watermark of each device: `shop-0001: 812 committed, 3 in the outbox`."""
    return "; ".join(f"{row['device']}: {row['committed']} committed, {row['buffered']} in the outbox"
                     for row in seen.get("devices", [])) or "no device yet"


def shelf(folder: Path, seen: dict[str, Any]) -> Table:
    """Levels by slot: as committed in the cloud, and as they are."""
    table = Table("slot", "cloud", "truth", title="units on the shelf", title_justify="left", pad_edge=False)
    known = levels(seen)
    for slot, true in sorted(truth(folder).items()):
        table.add_row(slot, f"{known[slot]:g}" if slot in known else "-", str(true))
    return table


def view(plant: Plant, ports: dict[str, int]) -> Group:
    """The live view: shelf, watermark, and the newest rows of the feed."""
    seen = fleet(plant.folder)
    note = Text(f"{committed(seen)}\npage http://{HOST}:{ports['http']}/   Ctrl-C stops everything", style="dim")
    return Group(shelf(plant.folder, seen), demand(rows_of(get(feed_address(ports))), "demand"), note)


def line(plant: Plant, ports: dict[str, int]) -> str:
    """The live view in one line, for a pipe."""
    seen = fleet(plant.folder)
    known = levels(seen)
    units = " ".join(f"{slot}={known[slot]:g}/{true}" if slot in known else f"{slot}=-/{true}"
                     for slot, true in sorted(truth(plant.folder).items()))
    return f"{committed(seen)}; {len(rows_of(get(feed_address(ports))))} feed rows; cloud/truth {units}"


def live(plant: Plant, ports: dict[str, int]) -> None:
    """Show the demo until it is stopped: a live view on a terminal, a line each 5 s elsewhere."""
    if not out.is_terminal:
        while not plant.stop.is_set():
            plant.watch()
            out.print(line(plant, ports))
            sys.stdout.flush()
            plant.stop.wait(5.0)
        return
    with Live(view(plant, ports), console=out, auto_refresh=False) as screen:
        while not plant.stop.wait(1.0):
            plant.watch()
            screen.update(view(plant, ports), refresh=True)


def demo(folder: Path, seconds: float | None, wanted: str | None, stop: threading.Event) -> None:
    """The whole demo, until `stop` is set or `seconds` of the live view have passed."""
    profile, ports = prepare(folder)
    plant = Plant(folder, stop)
    try:
        if not start(plant, profile, ports, wanted):
            return
        found: list[dict[str, Any]] = []

        def has_rows() -> bool:
            found[:] = rows_of(get(feed_address(ports)))
            return bool(found)

        if plant.until(has_rows, "the first rows of demand"):
            out.print(demand(found, "first demand"))
            if seconds is not None:
                timer = threading.Timer(seconds, stop.set)
                timer.daemon = True
                timer.start()
            live(plant, ports)
    finally:
        plant.close()
        out.print("everything has stopped")


def main() -> int:
    """Exit code 0 where it was stopped, 1 where something ended by itself."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--seconds", type=float, help="stop by itself after so long; default: at Ctrl-C")
    parser.add_argument("--folder", type=Path, default=Path(".demo"))
    parser.add_argument("--broker", choices=["mosquitto", "nats"], help="default: mosquitto where it is installed")
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        demo(given.folder, given.seconds, given.broker, stop)
    except CornergridError as error:
        out.print(str(error), style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
