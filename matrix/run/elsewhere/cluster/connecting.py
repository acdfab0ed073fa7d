"""How a run reaches workers of Dask: a scheduler that is there, by TLS or on this machine, or a cluster on this machine
alone.

Who reaches a scheduler without TLS runs code on all its workers. So an open one has to be asked for by name.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import urllib.parse
from typing import TYPE_CHECKING

from matrix.core.errors import ExtraMissing, PoolGone, UsageError
from matrix.core.text import escape_controls
from matrix.run.elsewhere.cluster.tasks import RESOURCE

if TYPE_CHECKING:
    from distributed import Client

REACH_SECONDS = 30.0
TLS_FILES = ("tls_ca_file", "tls_client_cert", "tls_client_key")
TLS_VARIABLES = "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__TLS__CLIENT__CERT and …__TLS__CLIENT__KEY"


def require_dask() -> None:
    """Raises ExtraMissing."""
    if importlib.util.find_spec("distributed") is None:
        raise ExtraMissing(
            "run --executor dask: Dask is not installed here",
            tip="python3 -m pip install 'iree-matrix[dask]', or from a checkout: pip install -e '.[dask]'",
        )


def checked_address(text: str, *, is_open: bool) -> str:
    """The address of a scheduler, with its scheme. `is_open`: one that anyone may reach is meant. Raises UsageError."""
    address = text if "://" in text else f"tcp://{text}"
    try:
        parts = urllib.parse.urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError:
        port, host = None, None
    if not (port and host) or parts.scheme not in ("tls", "tcp") or parts.path or parts.query or parts.username:
        raise UsageError(
            f"run --scheduler: read {text!r}, expected an address such as tls://HOST:8786",
            tip="the scheduler prints its address when it starts",
        )
    if parts.scheme == "tcp" and not is_open and not _is_this_machine(host):
        raise UsageError(
            f"run --scheduler: read {text!r}, a scheduler without TLS that other machines reach, expected tls://",
            tip="who reaches it runs code on all its workers: docs/scale.md has the lines for TLS; `--open-scheduler` "
            "takes it all the same",
        )
    return address


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def connect(address: str) -> Client:
    """A client of the scheduler at a `checked_address`. The certificates are those that Dask is set to. Raises
    UsageError, PoolGone."""
    from distributed import Client
    from distributed.security import Security

    security = Security(require_encryption=address.startswith("tls:"))
    lacking = [name for name in TLS_FILES if not getattr(security, name)]
    if address.startswith("tls:") and lacking:
        raise UsageError(
            f"run --scheduler {address}: Dask is set to no certificate of this machine ({', '.join(lacking)})",
            tip=f"set {TLS_VARIABLES}, or the same in ~/.config/dask/distributed.yaml",
        )
    _silence()
    try:
        return Client(address, security=security, timeout=REACH_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        said = escape_controls(str(error.__cause__ or error).partition("\n")[0])
        raise PoolGone(
            f"run --scheduler {address}: no scheduler answers there: {said}",
            tip="start it, or look at its certificates: both sides need one of the same authority",
        ) from None


def local_cluster(workers: int) -> Client:
    """A client of workers on this machine, which nothing else can reach; closing it ends them."""
    from distributed import Client, LocalCluster
    from distributed.security import Security

    _silence()
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        memory_limit=0,
        security=Security.temporary(),
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        resources={RESOURCE: 1},  # they are on one machine, where the run lets one of them at a time measure
        silence_logs=logging.CRITICAL,
    )
    return Client(cluster, set_as_default=False)


def _silence() -> None:
    """What Dask says of lost workers and connections, this project says in its own words."""
    for name in ("distributed", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
