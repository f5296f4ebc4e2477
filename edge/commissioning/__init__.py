"""Commissioning: every part of a shop tried once with the installer at the box, and a signed report that it works.

    label ─▶ first lines of the profile ─▶ ports ─▶ its other lines ─┐
    steps ◀──────────────────────────────────────────────────────────┘
      └─▶ an outcome each, kept at once ─▶ report ─▶ signed, kept on the device, sent up

A run that was cut off, at whatever moment, goes on where it was: what was kept is not asked again.
"""
