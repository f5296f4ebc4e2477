"""Who this device is: a key made on it, and the certificate that the authority gives for it.

    label ─▶ enrol.begin ─▶ pending.json ─▶ the authority, or a USB stick ─▶ enrol.accept ─▶ current.pem
    current.pem ─▶ Keeper: at two thirds of its life ─▶ next.key ─▶ next.pem ─▶ the broker takes it ─▶ current.pem

`files` keeps and repairs them, `trust` makes TLS of them, `client` talks to the authority. Collection never waits for
any of it.
"""
