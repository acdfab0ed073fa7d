"""pip's settings, read from its files and PIP_* variables, and translated into variables for uv. Starts no process."""

from __future__ import annotations

import configparser
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

SYSTEM_WIDE = Path("/etc/pip.conf")

FROM_PIP = {
    "index-url": (("UV_DEFAULT_INDEX", "UV_INDEX_URL"), "UV_DEFAULT_INDEX"),
    "extra-index-url": (("UV_INDEX", "UV_EXTRA_INDEX_URL"), "UV_INDEX"),
    "trusted-host": (("UV_INSECURE_HOST",), "UV_INSECURE_HOST"),
    "cert": (("SSL_CERT_FILE",), "SSL_CERT_FILE"),
    "client-cert": (("SSL_CLIENT_CERT",), "SSL_CLIENT_CERT"),
    "timeout": (("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT"), "UV_HTTP_TIMEOUT"),
    "retries": (("UV_HTTP_RETRIES",), "UV_HTTP_RETRIES"),
    "proxy": (("ALL_PROXY", "HTTPS_PROXY", "https_proxy", "all_proxy"), "ALL_PROXY"),
}
"""pip's setting -> (the variables that set it for uv already, the variable to set)."""


def read_pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's settings, by the name of the long option. Later sources win: global, user, site, PIP_CONFIG_FILE, PIP_*.

    This follows "Configuration files" in pip's documentation. Asking pip itself would take half a second.
    """
    settings: dict[str, str] = {}
    for path in pip_files(environ):
        parser = configparser.RawConfigParser()
        with contextlib.suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read(path, encoding="utf-8")
        for section in ("global", "install"):
            if parser.has_section(section):
                settings.update({_setting(name): value for name, value in parser.items(section)})
    for name, value in environ.items():
        if name.startswith("PIP_") and name not in ("PIP_CONFIG_FILE",) and value:
            settings[_setting(name.removeprefix("PIP_"))] = value
    return settings


def _setting(name: str) -> str:
    plain = name.strip().lower().replace("_", "-").removeprefix("--")
    return "timeout" if plain == "default-timeout" else plain


def pip_files(environ: Mapping[str, str]) -> list[Path]:
    """pip's configuration files on Linux, in the order in which pip reads them. They may not exist."""
    chosen = environ.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    home = Path(environ.get("HOME") or "~").expanduser()
    shared = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    files = [Path(folder) / "pip" / "pip.conf" for folder in reversed(shared) if folder]
    files.append(SYSTEM_WIDE)
    if not (chosen and Path(chosen).exists()):
        files.append(home / ".pip" / "pip.conf")
        files.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf")
    files.append(Path(sys.prefix) / "pip.conf")
    return [*files, Path(chosen)] if chosen else files


def as_uv_variables(settings: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """pip's settings as variables for uv. What the user has set for uv is left alone."""
    variables = {}
    for name, (said, variable) in FROM_PIP.items():
        value = " ".join(settings.get(name, "").split())
        if value and not any(environ.get(other) for other in said):
            variables[variable] = value
    if "UV_INDEX" in variables and not environ.get("UV_INDEX_STRATEGY"):
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip takes the best version of all its indexes
    if "UV_HTTP_TIMEOUT" in variables:  # pip takes 2.5, uv whole seconds only
        variables["UV_HTTP_TIMEOUT"] = _whole_seconds(variables["UV_HTTP_TIMEOUT"])
    links = [place for place in settings.get("find-links", "").split() if "://" in place or Path(place).exists()]
    if links and not environ.get("UV_FIND_LINKS"):
        variables["UV_FIND_LINKS"] = ",".join(links)
    return variables


def _whole_seconds(text: str) -> str:
    try:
        return str(max(1, round(float(text))))
    except ValueError:
        return "30"
