"""What a browser may be made to do with the panel: nothing that its user did not ask for.

Owns: the headers of every page, the names that the panel answers to, and where a change may come
from. Pure; knows neither sessions nor pages.
Source: https://www.w3.org/TR/fetch-metadata/, https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from lq.config import Config
from lq.errors import Forbidden, Misdirected

_CSP: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = (
    ("Content-Security-Policy", _CSP),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    # Not no-referrer: with that, browsers hide where a form comes from, and it would be refused.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+?)\.?(?::([0-9]{1,5}))?")


def names(config: Config) -> frozenset[str]:
    """The host names that the panel answers to, IPv6 addresses in brackets."""
    host = config.host.lower()
    found = {f"[{host}]" if ":" in host else host, *_OWN_NAMES, *config.panel.hosts}
    if config.public_url is not None:
        public = urlsplit(config.public_url).hostname or ""
        found.add(f"[{public}]" if ":" in public else public)
    return frozenset(found)


def addresses(config: Config, port: int) -> tuple[str, str]:
    """Where the panel is: from outside, as far as that is known, and on this machine.

    Shape: below a path of `public_url` there is the API alone.
    """
    host = f"[{config.host}]" if ":" in config.host else config.host
    if host in {"0.0.0.0", "[::]"}:  # noqa: S104 (what stands for every address is none to open)
        host = "localhost"
    here = f"{'https' if config.tls.cert else 'http'}://{host}:{port}"
    public = config.public_url
    return (public if public and not urlsplit(public).path else here), here


def check_host(host: str, allowed: Collection[str]) -> None:
    """Refuse names that are not ours: a page that has its own name lead here could read all.

    Shape: `host` is the header as it came. Raises: Misdirected.
    """
    found = _HOST.fullmatch(host)
    if found is not None and found[1].lower() in allowed:
        return
    raise Misdirected(
        "the panel is not served under this name",
        hint="add it to hosts in [panel] of lq.toml, if it is yours",
    )


def port_of(host: str) -> str:
    """The port that a Host names; "" when it is the usual one."""
    found = _HOST.fullmatch(host)
    return (found[2] or "") if found else ""


def public_origin(config: Config) -> str | None:
    """Where the panel is for browsers, as their Origin says it; None where that is not known."""
    public = urlsplit(config.public_url or "")
    if not public.netloc or public.path:
        return None
    host = public.netloc.lower().removesuffix(":443" if public.scheme == "https" else ":80")
    return f"{public.scheme}://{host}"


def check_origin(headers: Mapping[str, str], host: str, public: str | None) -> None:
    """Refuse a change that another site has the browser make.

    Shape: browsers say where it comes from by Sec-Fetch-Site (not over plain http from elsewhere),
    and by Origin; who says neither is no browser that we would trust a cookie of. `public` is the
    origin of a proxy in front, which need not hand on the Host that it was asked for.
    Raises: Forbidden.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    own = site in {None, "same-origin"}
    if origin is not None:
        ours = {f"http://{host.lower()}", f"https://{host.lower()}", public}
        own = own and origin.lower() in ours
    if own and (site, origin) != (None, None):
        return
    raise Forbidden(
        "this change does not come from a page of the panel",
        hint="open the panel itself, and make it there",
    )


def check_reader(headers: Mapping[str, str]) -> None:
    """Refuse to be a part of another site's page, which a cookie may come along to.

    Shape: browsers take the ports of a host, and the hosts of a domain, for one site. Following a
    link is all that a page elsewhere may have them do. Raises: Forbidden.
    """
    mode, dest = headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")
    follows_link = mode in {None, "navigate"} and dest in {None, "document"}
    if is_from_elsewhere(headers) and not follows_link:
        raise Forbidden("the panel is no part of another page", hint="open it in a tab of its own")


def by_tls(headers: Mapping[str, str]) -> bool:
    """Whether a form came from a page that the browser got by https."""
    return headers.get("Origin", "").lower().startswith("https://")


def is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether a link of another site led here: then the browser keeps its cookie to itself."""
    return headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}


def own_path(given: str) -> str:
    """Where to go after a login: a path of ours, or the first page."""
    is_path = re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", given) is not None
    return given if is_path and len(given) <= 2000 else "/"
