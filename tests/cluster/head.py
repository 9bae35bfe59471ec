"""A Ray head for one test, with its own ports, folder and token."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
KEY = "5ec2e7" + "f00d" * 8 + "5a"  # as long as W&B's keys; not a real one


@dataclass
class Head:
    folder: Path
    dashboard: str
    env: dict[str, str]  # with the cluster's token

    def run(self, *words: str, timeout: float = 300, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess:
        """A command of the environment's bin folder."""
        command = [str(BIN / words[0]), *words[1:]]
        return subprocess.run(command, cwd=cwd, env=self.env | env, capture_output=True, text=True, timeout=timeout)

    def start(self, *words: str, **env: str) -> subprocess.Popen:
        command = [str(BIN / words[0]), *words[1:]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=ROOT, env=self.env | env, text=True, bufsize=1, **pipes)


def environment(folder: Path) -> dict[str, str]:
    """This process's, without its Ray and W&B settings, and with a token file and a netrc file of the test's own."""
    (folder / "token").write_text(secrets.token_hex(32))
    (folder / "netrc").write_text("".join(f"machine {host} login user password {KEY}\n" for host in netrc_hosts()))
    for name in ("token", "netrc"):
        (folder / name).chmod(0o600)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_"))}
    return kept | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "NETRC": str(folder / "netrc"),
        "OMP_NUM_THREADS": "1",
    }


def netrc_hosts() -> set[str]:
    from urllib.parse import urlparse

    from raykd.track.server import quiet_wandb

    return {urlparse(quiet_wandb().setup().settings.base_url).hostname, "api.wandb.ai"}


@contextmanager
def head(cpus: int, *options: str, port: int = 0, **env: str) -> Iterator[Head]:
    """A head on the loopback interface with a token; everything that it started is ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rkd", dir="/tmp"))  # short: sockets' paths are limited
    dashboard, agent, client = (free_port() for _ in range(3))
    command = [BIN / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [f"--num-cpus={cpus}", f"--temp-dir={folder / 'ray'}", f"--port={port}", f"--dashboard-port={dashboard}"]
    command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
    command += ["--object-store-memory=150000000", *options]
    one = Head(folder, f"http://127.0.0.1:{dashboard}", environment(folder) | env)
    with open(folder / "head.log", "w") as log:
        process = subprocess.Popen(command, env=one.env, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for_jobs(one, process)
        yield one
    finally:
        stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen) -> None:
    """End a head and all its descendants, including those in sessions of their own."""
    import psutil

    try:
        own = psutil.Process(process.pid)
    except psutil.NoSuchProcess:  # it ended by itself
        return
    family = [*own.children(recursive=True), own]
    process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=10)
    for one in left:
        if one.is_running():
            one.kill()
    process.wait(10)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_for_jobs(one: Head, process: subprocess.Popen) -> None:
    """Wait until the job server has an agent that runs jobs."""
    import requests

    headers = {"Authorization": f"Bearer {(one.folder / 'token').read_text()}"}
    for _ in range(1000):  # a busy machine takes minutes
        assert process.poll() is None, (one.folder / "head.log").read_text()
        try:
            if requests.get(f"{one.dashboard}/api/jobs/", headers=headers, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.25)
    raise TimeoutError((one.folder / "head.log").read_text())
