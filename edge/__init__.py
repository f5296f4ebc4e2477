"""The device side: from what a shop's sensors say to facts that the cloud has committed.

    scale ─serial──┐
    probe ─RS-485──┤ sensors ─▶ Reading ──┐
    door ──────────┘                      ├─▶ stock: StockLevel ─▶ Movement, Availability ─┐
    camera ─▶ vision: frame ─▶ detections ┘                                                ▼
                 cloud ◀─ MQTT ◀─ uplink: publisher ◀─ outbox (SQLite, synced before put() returns)

Start reading at `agent.py`, which joins these parts; `profile.py` says which of them a shop has.
Everything on the wire is in `wire.py`, the only module that the cloud side shares.
Arrows: wire, clock, errors, readings <- sensors | vision | uplink <- profile, stock <- agent, sim <- __main__.
"""
