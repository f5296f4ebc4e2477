"""The authority: who a device is, and until when.

    labels ─▶ sticker ─▶ device ─▶ server: Desk.enrol, Desk.rotate ─▶ Ledger (SQLite) ─▶ broker: crl, acl ─▶ mosquitto
                                                                          ▲                               │ log
                                                                          └──────── guard: refusals ◀─────┘

`x509` makes certificates, `folder` keeps the authority's keys, `ledger` what was invited, issued and refused, `desk`
decides, `server` listens, `broker` writes the broker's files, `sightings` reads its log, `guard` keeps watch.
"""
