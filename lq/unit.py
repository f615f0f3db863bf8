"""The systemd unit that runs the daemon, and the drop-in that loosens it for scriptlets.

Owns: what of the system the daemon may see, and how systemd learns that it works. Pure: the text
of units. Never writes one.

Invariant: without scriptlets the daemon may write its data folder and nothing else; what loosens
that stands in a file of its own.

Source: systemd.service(5) and systemd.exec(5), as of systemd 247.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

NAME: Final = "lq.service"
DROP_IN: Final = "50-lq-scriptlets.conf"
MARK: Final = "# Written by `lq service install`."
_HEAD: Final = f"{MARK} Your own changes belong in a drop-in: systemctl edit {NAME}\n"
_STATE: Final = Path("/var/lib")
_WATCHDOG_S: Final = 30
_STOP_GRACE_S: Final = 30  # beyond what calls are granted: to end scriptlets, to commit


class Service(Struct, frozen=True, kw_only=True):
    """What a unit is made from.

    Shape: `command` runs lq, without its arguments; `user` is None for a unit of one's own
    manager. `seen_home` is for an lq, or files of its configuration, under /home or /root;
    `link_local` for targets that are opened there; `credential` is the one of [secrets].
    Units: `drain_ms` is what a stop grants to running calls.
    """

    command: tuple[str, ...]
    config: Path | None
    data_dir: Path
    user: str | None = None
    drain_ms: int = 30_000
    low_port: bool = False
    seen_home: bool = False
    link_local: bool = False
    credential: str | None = None


class Needs(Struct, frozen=True, kw_only=True):
    """What scriptlets need. Shape: `others` says that one runs as another user than lq."""

    others: bool = False


def unit(service: Service) -> str:
    """The unit file."""
    system = service.user is not None
    target = "multi-user.target" if system else "default.target"
    sections = [
        _HEAD,
        "[Unit]\nDescription=lq, a job queue and scheduler\n",
        "After=network-online.target\nWants=network-online.target\n" if system else "",
        "\n[Service]\n",
        *(f"{line}\n" for line in _running(service)),
        *(f"{line}\n" for line in (_state(service) if system else ())),
        "\n# What the daemon has no use for.\n",
        *(f"{line}\n" for line in (*_COMMON, *(_of_system(service) if system else ()))),
        f"\n[Install]\nWantedBy={target}\n",
    ]
    return "".join(sections)


def drop_in(needs: Needs, *, system: bool) -> str:
    """The drop-in for an lq that runs scriptlets, which may need all that their authors may."""
    lines = list(_LOOSE if system else _LOOSE_OF_USER)
    if needs.others and system:
        lines += _AS_ROOT
    elif system:
        lines += _AS_ONE
    return "".join([_HEAD, "[Service]\n", *(f"{line}\n" for line in lines)])


def quoted(words: Sequence[str]) -> str:
    """Words as an ExecStart= that systemd takes apart into just these."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    text = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return f'"{text}"' if not word or any(c in word for c in " \t'\";") else text


def _running(service: Service) -> list[str]:
    config = ("--config", str(service.config)) if service.config else ()
    stop_s = -(-service.drain_ms // 1000) + _STOP_GRACE_S
    return [
        "Type=notify",
        f"ExecStart={quoted((*service.command, 'serve', *config))}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        *([f"User={service.user}"] if service.user else []),
        f"WatchdogSec={_WATCHDOG_S}",
        "Restart=on-failure",
        "RestartSec=2",
        "# A damaged database and a wrong configuration are no better the next time.",
        "RestartPreventExitStatus=65 78",
        "TimeoutStartSec=5min",
        f"TimeoutStopSec={stop_s}",
        "# lq ends its scriptlets itself; what is left after that is killed.",
        "KillMode=mixed",
        "OOMPolicy=continue",
    ]


def _state(service: Service) -> list[str]:
    folder, name = service.data_dir, service.credential
    lines = [f"LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}"] if name else []
    if folder.parent == _STATE:
        return [*lines, f"StateDirectory={folder.name}", "StateDirectoryMode=0700"]
    return [*lines, f"ReadWritePaths={_quoted(str(folder))}"]


_COMMON: Final = (
    "UMask=0077",
    "LimitCORE=0",
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
)


def _of_system(service: Service) -> list[str]:
    bind = "CAP_NET_BIND_SERVICE" if service.low_port else ""
    return [
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if service.seen_home else 'yes'}",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectProc=invisible",
        "ProcSubset=pid",
        "RemoveIPC=yes",
        "KeyringMode=private",
        "RestrictNamespaces=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "SystemCallErrorNumber=EPERM",
        *([] if service.link_local else ["IPAddressDeny=link-local multicast"]),
        f"CapabilityBoundingSet={bind}",
        f"AmbientCapabilities={bind}",
    ]


_LOOSE_OF_USER: Final = (
    "# Scriptlets do what you can do.",
    "MemoryDenyWriteExecute=no",
    "RestrictSUIDSGID=no",
    "LockPersonality=no",
    "RestrictRealtime=no",
    "SystemCallArchitectures=",
    "NoNewPrivileges=no",
)
_LOOSE: Final = (
    "# Scriptlets write to /var, /srv and /home, and run whatever programs they like.",
    "ProtectHome=no",
    "PrivateTmp=no",
    "PrivateDevices=no",
    "ProtectProc=default",
    "ProcSubset=all",
    "RemoveIPC=no",
    "MemoryDenyWriteExecute=no",
    "RestrictNamespaces=no",
    "RestrictRealtime=no",
    "LockPersonality=no",
    "SystemCallArchitectures=",
    "RestrictAddressFamilies=",
    "IPAddressDeny=",
    "SystemCallFilter=",
)
_AS_ONE: Final = (
    "# /usr, /boot and /etc stay read-only, and nobody becomes somebody else.",
    "ProtectSystem=full",
)
_AS_ROOT: Final = (
    "# Some run as other users, which only root can start. They can do what cron's jobs can.",
    "User=root",
    "ProtectSystem=no",
    "NoNewPrivileges=no",
    "RestrictSUIDSGID=no",
    "ProtectClock=no",
    "ProtectControlGroups=no",
    "ProtectHostname=no",
    "ProtectKernelLogs=no",
    "ProtectKernelModules=no",
    "ProtectKernelTunables=no",
    "CapabilityBoundingSet=~",
)
