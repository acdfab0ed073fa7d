"""The documented files for Slurm and Kubernetes: their words are those that Dask's own programs take."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

from matrix.run.elsewhere.cluster.tasks import RESOURCE

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "dask"
SCALE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
DISK, TLS = {"XDG_CACHE_HOME"}, {"tls_ca_file", "tls_cert", "tls_key"}


def read(program: str, words: list[str]) -> dict[str, object]:
    """The words as the program reads them. Raises click.UsageError for what it does not know."""
    from distributed.cli import dask_scheduler, dask_worker

    command = {"worker": dask_worker, "scheduler": dask_scheduler}[program].main
    joined = re.split(r"\0", re.sub(r"(--tls-[a-z-]+)\0(?!--)", r"\1=", "\0".join(words)))
    given = [word for word in joined if not word.startswith("--tls-")]  # their files are not there
    tls = {word.partition("=")[0][2:].replace("-", "_") for word in joined if word.startswith("--tls-")}
    return {**command.make_context(program, given).params, "tls": tls}


def test_kubernetes_has_workers_one_a_node_behind_tls() -> None:
    manifest = yaml.safe_load((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8"))
    assert (manifest["apiVersion"], manifest["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    for role in ("worker", "scheduler"):
        (container,) = spec[role]["spec"]["containers"]
        dask, program, *words = container["args"]
        params = read(program, words)
        assert (dask, program, params["tls"]) == ("dask", role, TLS)
        assert params["dashboard_address"] == "127.0.0.1:0"
        assert {"name": "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "value": "True"} in container["env"]
        volumes = {each["name"] for each in spec[role]["spec"]["volumes"]}
        assert {each["name"] for each in container["volumeMounts"]} == volumes
    worker = spec["worker"]["spec"]["containers"][0]
    params = read("worker", worker["args"][2:])
    assert (params["scheduler"], params["memory_limit"]) == (f"tls://{name}-scheduler:8786", "0")
    assert (params["nthreads"], params["n_workers"], params["death_timeout"]) == (1, "1", "60")
    (apart,) = spec["worker"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"]["matchLabels"] == {
        "dask.org/cluster-name": name,
        "dask.org/component": "worker",
    }
    assert {each["name"] for each in worker["env"]} >= DISK


def test_the_lines_of_the_document_are_read() -> None:
    lines = re.findall(r"^(?:[A-Z_]+=\S+ )?dask (worker|scheduler) (.+)$", SCALE, re.MULTILINE)
    assert [program for program, _ in lines] == ["scheduler", "worker"]
    for program, words in lines:
        params = read(program, shlex.split(words))
        assert params["dashboard_address"] == "127.0.0.1:0"


@pytest.fixture
def slurm():
    spec = importlib.util.spec_from_file_location("slurm", FOLDER / "slurm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_slurm_has_workers_one_a_node_behind_tls(slurm, monkeypatch, tmp_path) -> None:
    """The script that a node gets, made by dask-jobqueue without a scheduler: `test_dask_real.py` has one."""
    given = {}
    monkeypatch.setattr(slurm, "SLURMCluster", lambda **words: given.update(words))
    slurm.cluster(tmp_path)
    from dask_jobqueue.slurm import SLURMJob

    own = {name: value for name, value in given.items() if name not in ("scheduler_options",)}
    script = SLURMJob("tls://h:8786", name="n", **own).job_script()
    line = next(line for line in script.splitlines() if "dask_worker" in line)
    words = shlex.split(line)
    params = read("worker", words[words.index("distributed.cli.dask_worker") + 1 :])
    assert (params["scheduler"], params["nthreads"], params["memory_limit"]) == ("tls://h:8786", 1, "0")
    assert f"--resources {RESOURCE}=1" in line and params["tls"] == TLS
    assert params["dashboard_address"] == "127.0.0.1:0"
    assert "#SBATCH --exclusive" in script and "export XDG_CACHE_HOME=$TMPDIR" in script
    assert str(tmp_path / "ca.pem") in line
