"""Several workers on one database and one broker give the same result as one."""

from __future__ import annotations

from pathlib import Path

from cloud_ingest.store.protocol import Arrival, Rejected, Told
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Message
from edge import wire
from tests.cloud_ingest.devices import CLOCK, Device, Listening, listening, opened, serving, sums, until, worker
from tests.cloud_ingest.sending import dump, take

COMPARED = ("stream", "reading", "latest", "flow", "loss", "quarantine")


def alone(db: Path, device: Device) -> dict[str, list[tuple[object, ...]]]:
    """What one store has after the same batches, each once and in order."""
    store = opened(db, [device.name])
    for _, payload in device.batches.values():
        take(store, Message(wire.up(device.name, "data"), payload, 1, 1, 1), now=CLOCK.now())
    store.close()
    return dump(db)


def test_kill_9_of_one_of_two_workers_gives_the_same_result_as_one(broker: Listening, tmp_path: Path) -> None:
    port, db = broker.port, tmp_path / "cloud.db"
    opened(db, ["shop-w", "shop-v"]).close()
    devices = [Device("shop-w", port, "1" * 32), Device("shop-v", port, "2" * 32)]
    with listening(port) as online, worker(port, db, "w-1") as first, worker(port, db, "w-2") as second:
        until(lambda: online.get("w-1", False) and online.get("w-2", False), "both workers")
        for seq in range(1, 1001, 10):
            for device in devices:
                device.send(seq)
            if seq == 501:
                first.kill()
        until(lambda: not online["w-1"], "the last will of the one that was killed")
        assert online["w-2"]
        for device in devices:
            device.until_committed(1000)
            device.close()
        second.terminate()
        assert second.wait(10) == 0
        until(lambda: not online["w-2"], "the goodbye of the other")
    found = dump(db)
    for device in devices:
        assert sums(db, device.name) == (1000.0, 1000, 1000)
        for table, expected in alone(tmp_path / f"{device.name}.db", device).items():
            if table in COMPARED:
                own = [row for row in found[table] if {device.name, f"store-of-{device.name}"} & set(row)]
                assert own == expected, table


class CountingStore(SqliteStore):
    """Counts the batches that came to one worker."""

    batches = 0

    def commit(self, arrivals: list[Arrival], rejected: list[Rejected], now: float,  # type: ignore[override]
               ) -> list[Told]:
        self.batches += len(arrivals)
        return super().commit(arrivals, rejected, now)


def test_two_workers_share_the_batches_and_each_hears_every_state(broker: Listening, tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    opened(db, ["shop-u"]).close()
    stores = [CountingStore(db), CountingStore(db)]
    device = Device("shop-u", broker.port, "3" * 32)
    with serving(broker.port, stores[0], "u1") as one, serving(broker.port, stores[1], "u2") as other:
        until(lambda: one.connected and other.connected, "both workers")
        for seq in range(1, 401, 10):
            device.send(seq)
        device.until_committed(400)
    device.close()
    assert sums(db, "shop-u") == (400.0, 400, 400)
    assert all(store.batches > 0 for store in stores)
    assert sum(store.batches for store in stores) == 40
