"""What the box should look like: a pure function of the profile, the program and the version of systemd.

    /etc/systemd/system/cornergrid.service          the agent, watched and locked in
    /etc/systemd/system/cornergrid-finish.service   completes what a power cut interrupted, before the agent starts
    /etc/systemd/journald@cornergrid.conf           how large the agent's log may grow
    /etc/sysusers.d, /etc/tmpfiles.d                the agent's user, and what belongs to it
    /etc/modules-load.d                             drivers of serial adapters and cameras
    /etc/udev/rules.d/90-cornergrid.rules           names that stay
    /etc/cornergrid/shop.toml                       the profile

The order matters: first the unit that completes the rest after a power cut, last what starts the agent. Users, owners
and modules are declared, not made, so that an image that is built with `--root` makes them at its first boot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.box.steps import Change, Command, File, Folder, Gone, Link, Place, Step, There, change
from edge.errors import ConfigError, Problem

CONFIGS = Path(__file__).parents[2] / "firmware_configs"
PROFILE = "/etc/cornergrid/shop.toml"
JOURNAL = "/etc/cornergrid/install.journal"
_UNITS = "/etc/systemd/system"
UNIT, FINISH = f"{_UNITS}/cornergrid.service", f"{_UNITS}/cornergrid-finish.service"
_WANTS = f"{_UNITS}/multi-user.target.wants"
SYSUSERS, TMPFILES = "/etc/sysusers.d/cornergrid.conf", "/etc/tmpfiles.d/cornergrid.conf"
MODULES, RULES = "/etc/modules-load.d/cornergrid.conf", "/etc/udev/rules.d/90-cornergrid.rules"
LOGS = "/etc/systemd/journald@cornergrid.conf"
_JOURNALD = tuple(f"systemd-journald{part}" for part in (
    "-varlink@cornergrid.socket", "@cornergrid.socket", "@cornergrid.service"))
HIDDEN = ("/home", "/root", "/tmp", "/var/tmp", "/run/user")  # noqa: S108  # named to be refused
"""What the agent does not see: the unit says ProtectHome and PrivateTmp."""
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr")
_PLAIN = re.compile(r"/[A-Za-z0-9._/+-]*")
STEPPED_BACKOFF = 254
"""The first version of systemd with RestartSteps."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be installed.

    Attributes:
        command: the program, absolute, and words before its own.
        profile: the profile's text.
        data: the data folder that it names.
        version: the program's.
        systemd: version of systemd; 0 where that is not known.
        prefixes: further folders that the program needs: its interpreter's, its packages'.
    """

    command: tuple[str, ...]
    profile: str
    data: Path
    version: str
    systemd: int = 0
    prefixes: tuple[str, ...] = ()


def install_steps(wanted: Wanted, configs: Path = CONFIGS) -> tuple[Step, ...]:
    """All steps of an install, in order; ConfigError with everything that cannot be so."""
    problems = tuple(_problems(wanted))
    if problems:
        raise ConfigError("install", problems)

    def unit(path: str, name: str, mode: int = 0o644) -> File:
        return File(path, _filled((configs / name).read_text(encoding="utf-8"), wanted), mode)

    folders = ("/etc/cornergrid", _WANTS, "/etc/sysusers.d", "/etc/tmpfiles.d", "/etc/modules-load.d",
               "/etc/udev/rules.d")
    return (
        *(Folder(path) for path in folders),
        unit(FINISH, "systemd/cornergrid-finish.service"),
        Link(f"{_WANTS}/cornergrid-finish.service", FINISH),
        unit(SYSUSERS, "systemd/sysusers.conf"),
        unit(TMPFILES, "systemd/tmpfiles.conf"),
        unit(MODULES, "systemd/modules-load.conf"),
        unit(RULES, "udev/90-cornergrid.rules"),
        unit(LOGS, "systemd/journald@cornergrid.conf"),
        File(PROFILE, wanted.profile, 0o600, secret=True),
        unit(UNIT, "systemd/cornergrid.service"),
        Command(("systemd-sysusers", SYSUSERS), (SYSUSERS,)),
        Command(("systemd-tmpfiles", "--create", TMPFILES), (SYSUSERS, TMPFILES, PROFILE)),
        Command(("systemctl", "restart", "systemd-modules-load.service"), (MODULES,), may_fail=True),
        *_names_again(),
        Link(f"{_WANTS}/cornergrid.service", UNIT),
        Command(("systemctl", "daemon-reload"), (UNIT, FINISH, f"{_WANTS}/cornergrid.service")),
        Command(("systemctl", "restart", "systemd-journald@cornergrid.service"), (LOGS,), may_fail=True),
        Command(("systemctl", "restart", "--no-block", "cornergrid.service"),
                (UNIT, PROFILE, f"{_WANTS}/cornergrid.service")),
    )


def uninstall_steps() -> tuple[Step, ...]:
    """All steps of an uninstall. The profile, the data folder, its user and the log stay."""
    files = (f"{_WANTS}/cornergrid.service", UNIT, LOGS, RULES, MODULES, TMPFILES, SYSUSERS)
    last = (f"{_WANTS}/cornergrid-finish.service", FINISH)
    return (
        Command(("systemctl", "stop", "cornergrid.service"), (UNIT,), may_fail=True),
        *(Gone(path) for path in files),
        *_names_again(),
        Command(("systemctl", "stop", *_JOURNALD), (LOGS,), may_fail=True),
        *(Gone(path) for path in last),
        Command(("systemctl", "daemon-reload"), (UNIT, FINISH)),
    )


def _names_again() -> tuple[Step, ...]:
    """Give devices that are plugged in their names anew."""
    again = ("udevadm", "trigger", "--action=change", "--subsystem-match=tty", "--subsystem-match=video4linux")
    return (Command(("udevadm", "control", "--reload"), (RULES,), may_fail=True),
            Command(again, (RULES,), may_fail=True))


def changes(steps: Iterable[Step], there: Callable[[str], There | None], *, anew: bool = False,
            commands: bool = True) -> tuple[Change, ...]:
    """What each step will change, given what is `there`.

    `anew`: an earlier run was interrupted, so no command can be trusted to have run. Without `commands` (an image, not
    a running box) none is.
    """
    steps = tuple(steps)
    found = {step.path: change(step, there(step.path)) for step in steps if isinstance(step, Place)}
    changed = {path for path, each in found.items() if each.what != "unchanged"}

    def of(step: Step) -> Change:
        if not isinstance(step, Command):
            return found[step.path]
        runs = commands and (anew or not step.of or not changed.isdisjoint(step.of))
        return Change(step, "run" if runs else "unchanged")

    return tuple(of(step) for step in steps if commands or not isinstance(step, Command))


def _filled(text: str, wanted: Wanted) -> str:
    backoff = "RestartSteps=6\nRestartMaxDelaySec=5min\n" if wanted.systemd >= STEPPED_BACKOFF else ""
    places = {"@VERSION@": wanted.version, "@DATA@": str(wanted.data), "@PROFILE@": PROFILE, "@JOURNAL@": JOURNAL,
              "@COMMAND@": " ".join(wanted.command), "@BACKOFF@\n": backoff}
    for place, value in places.items():
        text = text.replace(place, value)
    return text


def _problems(wanted: Wanted) -> Iterable[Problem]:
    for path in (*(word for word in wanted.command if word.startswith("/")), *wanted.prefixes):
        if _PLAIN.fullmatch(path) is None:
            yield Problem("program", f"{path} has characters that a unit file cannot hold",
                          "install it in /opt/cornergrid")
        elif _under(path, HIDDEN):
            yield Problem("program", f"{path} is hidden from a service", "put it into a venv below /opt, see --wheels")
    data = str(wanted.data)
    if not wanted.data.is_absolute() or _PLAIN.fullmatch(data) is None or ".." in wanted.data.parts:
        yield Problem("device.data", f"{data!r} is no absolute path of plain letters", 'like "/var/lib/cornergrid"')
    elif len(wanted.data.parts) < 3 or data in {"/var/lib", "/var/log", "/var/cache"}:
        yield Problem("device.data", f"{data} is not a folder of its own", "the agent's user will own all of it; "
                      'take "/var/lib/cornergrid"')
    elif _under(data, (*HIDDEN, *_SYSTEM)):
        yield Problem("device.data", f"{data} is hidden from a service, or the system's", 'take "/var/lib/cornergrid"')


def _under(path: str, folders: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)
