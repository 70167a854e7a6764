"""Whether DVC's default remote can be sent to, as far as can be told without sending."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple
from urllib.parse import urlsplit

from ouro.core.endpoints import masked, reach
from tasks.problems import AddressProblem
from tasks.processes.dvc import call_dvc

# Scheme -> the package with which DVC speaks it, and the port of an address without one.
PACKAGES = {
    "s3": "dvc_s3", "gs": "dvc_gs", "azure": "dvc_azure", "ssh": "dvc_ssh", "hdfs": "dvc_hdfs", "webhdfs": "dvc_hdfs",
    "oss": "dvc_oss", "gdrive": "dvc_gdrive", "webdav": "dvc_webdav", "webdavs": "dvc_webdav", "http": "dvc_http",
    "https": "dvc_http",
}  # fmt: skip
PORTS = {"http": 80, "https": 443, "webdav": 80, "webdavs": 443, "ssh": 22}


class Remote(NamedTuple):
    """DVC's default remote: `endpoint` is the address of an object store that is not the provider's own."""

    name: str
    url: str
    endpoint: str = ""


def default_remote() -> Remote | None:
    """The default remote of DVC's config; None without one."""
    settings = dict(line.split("=", 1) for line in call_dvc("config", "--list").stdout.splitlines() if "=" in line)
    name = settings.get("core.remote", "")
    url = settings.get(f"remote.{name}.url", "")
    return Remote(name, url, settings.get(f"remote.{name}.endpointurl", "")) if name else None


def remote_problem(remote: Remote) -> AddressProblem:
    """What is wrong with a remote: its scheme, a package that DVC needs for it, an endpoint that does not answer."""
    who = f"DVC's remote {remote.name} (.dvc/config): got {masked(remote.url) or 'no url'}"
    fix = f"Fix: `uv run dvc remote modify {remote.name} url ADDRESS`"
    try:
        scheme = urlsplit(remote.url).scheme if "://" in remote.url else ""
        parts = urlsplit(remote.endpoint or remote.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return AddressProblem(f"{who}, which is no address. {fix}")
    if not remote.url or (scheme and scheme not in ("file", "local", "remote", *PACKAGES)):
        return AddressProblem(f"{who}, expected a folder or one of {', '.join(PACKAGES)}. {fix}")
    package = PACKAGES.get(scheme, "")
    if package and importlib.util.find_spec(package) is None:
        name = package.replace("_", "-")
        return AddressProblem(f"{who}, for which DVC needs the package {name}. Fix: `uv pip install {name}`")
    if host and (port or parts.scheme in PORTS) and (what := reach(host, port or PORTS[parts.scheme])):
        address = f", its endpoint {masked(remote.endpoint)}" if remote.endpoint else ""
        return AddressProblem(f"{who}{address}, {what}. Fix: start it, or correct its address", passing=True)
    return AddressProblem()
