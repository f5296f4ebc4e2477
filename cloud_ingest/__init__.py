"""The cloud side: from a device's message to demand per map cell.

    subscriber ─▶ service: decode ─▶ dedupe ─▶ store (one transaction) ─▶ acknowledge ─▶ watermark ─▶ device deletes
                                                 │
                        flow(store, SKU, window) ┘─▶ demand ─▶ feed (terminal, HTTP, map)

Start reading at `service.py`. Imports `edge.wire`, `edge.errors` and `edge.clock` of the device, nothing else.
"""
