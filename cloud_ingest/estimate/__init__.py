"""What customers wanted, estimated from what was sold while the shelf was not empty.

    windows ──▶ profile.learn ──▶ Profiles: shares of the day per SKU and kind of day, weekday factors per category
       │                              │
       └──▶ rows.to_days ◀────────────┘   sold, seen, gap and silent of each series and local day
                 │
                 ▼
      levels.expect: the series' own recent days, pooled with its SKU and category, times the weekday,
                     times how today runs in the region, for the SKU, for both, in the store
                 │
                 ▼
      posterior.posterior (Gamma-Poisson) ──▶ lost, silent, variance ──▶ interval, cells.combine

Everything here is a pure function over columns. A series is one SKU in one store; an exposure is the part of a
usual day's sales that falls into given windows, so 1.0 is a whole day.
"""
