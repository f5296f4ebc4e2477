"""Living on the box: installed as a service, watched by systemd, and able to tell what happened in one file.

    plan.py     what the box should look like: files, links, commands; pure
    runner.py   makes it so; a power cut at any step is completed by the next start
    notify.py   tells systemd that the agent lives
    levels.py   gives the journal the level of each event
    raw.py      the last bytes of each serial line, kept in memory and written on a fault
    scrub.py    takes secrets out of text; pure
    bundle.py   the support bundle
"""
