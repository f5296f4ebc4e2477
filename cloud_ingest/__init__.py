"""The cloud side: from a device's message to demand per map cell.

    subscriber ─▶ service: decode ─▶ dedupe ─▶ store (one transaction) ─▶ acknowledge ─▶ watermark ─▶ device deletes
                                                 │
                        flow(store, SKU, window) ┘─▶ demand ─▶ feed (terminal, HTTP, map)

What cannot be read, or cannot be, is refused by name and kept in quarantine (`sorting`, `store.gate`). What a device
may cost and add is limited (`allowance`, `store.growth`), and each refusal is counted for its device. What a fleet has
held back through an outage comes in by credit (`pacing`). Several workers may share one broker and one database.

Start reading at `service.py`. Imports `edge.wire`, `edge.errors` and `edge.clock` of the device, nothing else.
"""
