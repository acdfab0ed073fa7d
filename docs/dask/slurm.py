"""Workers of Dask on the nodes of Slurm, one a node, by dask-jobqueue: python slurm.py FOLDER NODES.

FOLDER has ca.pem, cert.pem and key.pem, and all nodes see it. The scheduler runs here until Ctrl-C.
"""

import signal
import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed.security import Security


def cluster(folder: Path) -> SLURMCluster:
    pair = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    roles = {f"tls_{role}_{part}": path for role in ("scheduler", "worker", "client") for part, path in pair.items()}
    return SLURMCluster(
        cores=16,  # of a node
        memory="32GB",
        processes=1,
        walltime="08:00:00",
        security=Security(require_encryption=True, tls_ca_file=str(folder / "ca.pem"), **roles),
        local_directory="$TMPDIR",  # a node's own disk
        job_extra_directives=["--exclusive"],
        job_script_prologue=["export XDG_CACHE_HOME=$TMPDIR"],
        worker_extra_args=[
            *("--nthreads", "1", "--memory-limit", "0", "--resources", "alone=1"),
            *("--dashboard-address", "127.0.0.1:0"),
        ],
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    )


if __name__ == "__main__":
    with cluster(Path(sys.argv[1]).absolute()) as nodes:
        nodes.scale(jobs=int(sys.argv[2]))
        print(nodes.scheduler_address, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
