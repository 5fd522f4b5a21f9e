"""A control plane of one's own on loopback: etcd, API server, controllers and scheduler."""

import contextlib
import secrets
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Api, eventually
from tests.cluster.certificates import write_certificate, write_service_account_key

ADMINISTRATORS = "system:masters"
# where pods find the API server: the first address of the range of services
SERVICE = "10.0.0.1"
START_SECONDS = 180
# how long a node may be silent, and how long its pods are then left alone: minutes elsewhere
SILENT_SECONDS, TOLERATED_SECONDS = 20, 5


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def write_kubeconfig(path: Path, cluster: Any, token: str) -> Path:
    """A kubeconfig for the owner of a token; the cluster as kubeconfigs describe one."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": {"token": token}}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))
    return path


@contextlib.contextmanager
def local_cluster(program: Path, folder: Path) -> Iterator[Path]:
    """The kubeconfig of a control plane's administrator, for as long as the control plane runs.

    Args:
        program: What `control_plane()` built.
        folder: An empty folder for its data, keys and logs.
    """
    store, peers, server = free_ports(3)
    address, token = f"https://127.0.0.1:{server}", secrets.token_hex(16)
    certificate, key = write_certificate(folder, "server", "127.0.0.1", SERVICE, "localhost")
    signing = write_service_account_key(folder / "service-accounts.key")
    tokens = folder / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f'{token},administrator,administrator,"{ADMINISTRATORS}"\n')
    described = {"server": address, "certificate-authority": str(certificate)}
    kubeconfig = write_kubeconfig(folder / "kubeconfig", described, token)
    own = f"http://127.0.0.1:{store}"
    parts: dict[str, list[Any]] = {
        "etcd": [
            f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={own}",
            f"--advertise-client-urls={own}", f"--listen-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-cluster=default=http://127.0.0.1:{peers}", "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        "kube-apiserver": [
            f"--etcd-servers={own}", f"--secure-port={server}", "--bind-address=127.0.0.1",
            f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}",
            f"--token-auth-file={tokens}", "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={signing}",
            f"--service-account-signing-key-file={signing}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--kubelet-preferred-address-types=InternalIP",
            f"--default-not-ready-toleration-seconds={TOLERATED_SECONDS}",
            f"--default-unreachable-toleration-seconds={TOLERATED_SECONDS}",
        ],
        "kube-controller-manager": [
            f"--kubeconfig={kubeconfig}", "--secure-port=0", "--leader-elect=false",
            f"--service-account-private-key-file={signing}", f"--root-ca-file={certificate}",
            "--node-monitor-period=1s", f"--node-monitor-grace-period={SILENT_SECONDS}s",
        ],
        "kube-scheduler": [f"--kubeconfig={kubeconfig}", "--secure-port=0", "--leader-elect=false"],
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        for name in ("etcd", "kube-apiserver"):
            stack.enter_context(part(program, name, parts[name], folder))
        api = Api(kubeconfig)
        stack.callback(api.close)
        eventually(lambda: api.ask("GET", "/readyz") == "ok", START_SECONDS, "the API server")
        for name in ("kube-controller-manager", "kube-scheduler"):
            stack.enter_context(part(program, name, parts[name], folder))
        # the controllers have made it once they are at work, and no pod is admitted before
        eventually(lambda: api.read("serviceaccounts", "default", "default"), START_SECONDS)
        yield kubeconfig


@contextlib.contextmanager
def part(program: Path, name: str, flags: list[Any], folder: Path) -> Iterator[None]:
    """One of the program's parts, for as long as it lasts."""
    log = (folder / f"{name}.log").open("wb")
    options: dict[str, Any] = {"stdout": log, "stderr": log, "cwd": folder}
    # it ends with its input, which is closed also where the tests are killed
    with (
        log,
        subprocess.Popen([program, name, *flags], stdin=subprocess.PIPE, **options) as process,
    ):
        try:
            yield
        finally:
            # asked politely, the API server waits for its watchers; nothing of it is kept
            process.kill()
