"""Submits a packed recipe as a Ray job: upload, log and exit status."""

import asyncio
import logging
import os
import re
import secrets
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import raykd
from raykd import UserError
from raykd.launch.cluster import connection as cluster
from raykd.output import masked

PATIENCE = 15  # seconds that a job server has for its first answer
STOP_SECONDS = 60  # between a job's SIGTERM and its SIGKILL, for the last checkpoint; Ray's default of 3 s is too short
WANDB_RUN = re.compile(r"https?://\S+/runs/[\w-]+")


@dataclass(frozen=True)
class Job:
    """One submission."""

    command: str  # train, tune or study
    recipe: str  # path below the packed folder, or the name of a recipe that ships with raykd
    arguments: tuple[str, ...]
    name: str

    @property
    def entrypoint(self) -> str:
        return shlex.join(["python", "-m", "raykd", self.command, self.recipe, *self.arguments])

    def new_id(self) -> str:
        """A unique job id: a name can be submitted again, an id can't."""
        stem = re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-")
        return f"{stem}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def private(address: str) -> bool:
    """Whether the connection to the job server is private: https, or this machine (the end of a tunnel)."""
    url = urlparse(address)
    return url.scheme == "https" or url.hostname in ("localhost", "127.0.0.1", "::1")


def connect(address: str) -> Any:
    """A client of the job server; raises UserError if the server does not answer or denies access."""
    if not address.startswith(("http://", "https://")):
        raise UserError(f"address: {address!r} is not an http(s) URL of a Ray dashboard, like http://127.0.0.1:8265")
    if cluster.has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    logging.disable(logging.INFO)  # Ray's job loggers set their own, verbose level
    try:
        _expect_answer(address)
        client = JobSubmissionClient(address)
        client.list_jobs()
    except (OSError, RuntimeError, RayError, ValueError, KeyError) as error:  # the last two: not Ray's answer
        line = " ".join(str(error).split())[:200] or type(error).__name__
        hint = "Check the tunnel, and that RAY_AUTH_TOKEN is the cluster's."
        raise UserError(f"no usable Ray job server at {masked(address)}: {line}. {hint}") from None
    return client


def _expect_answer(address: str) -> None:
    """Raise ConnectionError if nothing answers at the address; Ray's client would wait for it without a limit."""
    import requests

    try:
        requests.get(address, timeout=PATIENCE)
    except requests.RequestException as error:
        raise ConnectionError(f"nothing answers there ({type(error).__name__})") from None


def submit(client: Any, job: Job, folder: Path) -> str:
    """Send a packed folder and start the job; returns its id."""
    variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
    if os.environ.get("WANDB_BASE_URL"):
        variables["WANDB_BASE_URL"] = os.environ["WANDB_BASE_URL"]
    return client.submit_job(
        entrypoint=job.entrypoint,
        submission_id=job.new_id(),
        runtime_env={"working_dir": str(folder), "env_vars": variables},
        metadata={"raykd": raykd.__version__, "name": job.name, "recipe": job.recipe},
    )


@dataclass(frozen=True)
class Submitted:
    """A Ray job on a cluster, the result of `raykd.submit`."""

    id: str
    """The job's id at Ray."""
    address: str
    """URL of the Ray dashboard."""
    client: Any
    """Ray's JobSubmissionClient."""

    def __repr__(self) -> str:
        return f"Submitted(id={self.id!r}, address={masked(self.address)!r})"

    @property
    def status(self) -> str:
        """The job's status as named by Ray: pending, running, stopped, succeeded or failed."""
        return self.client.get_job_status(self.id).lower()

    def follow(self, write: Callable[[str], None]) -> str:
        """Pass the job's log to `write` until it ends; returns the URL of its last W&B run, or an empty string."""
        from ray.job_submission import JobStatus

        seen, wandb = 0, ""
        while True:
            status = self.client.get_job_status(self.id)
            if status.is_terminal():
                text = self.client.get_job_logs(self.id)[seen:]
                write(text)
                return next(reversed(WANDB_RUN.findall(text)), wandb)
            for text in _tail(self.client, self.id, seen) if status == JobStatus.RUNNING else ():
                seen += len(text)
                write(text)
                wandb = next(reversed(WANDB_RUN.findall(text)), wandb)
            time.sleep(0.5)

    @property
    def exit_status(self) -> int:
        """Exit status of a job that has ended: 0 done, 1 the run failed, 2 invalid input, 143 stopped.

        143 is that of a shell after SIGTERM.
        """
        from ray.job_submission import JobStatus

        info = self.client.get_job_info(self.id)
        if info.status == JobStatus.STOPPED:
            return 128 + signal.SIGTERM
        code = info.driver_exit_code
        if code is None:
            return 0 if info.status == JobStatus.SUCCEEDED else 1
        return code if code >= 0 else 128 - code


def _tail(client: Any, job_id: str, skip: int) -> Iterator[str]:
    """The growing log, without the given number of first characters; ends with the job or the connection."""
    stream = client.tail_job_logs(job_id)
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                text = loop.run_until_complete(anext(stream))
            except (StopAsyncIteration, ConnectionError, RuntimeError, OSError):
                return
            if len(text) > skip:
                yield text[skip:]
            skip = max(0, skip - len(text))
    finally:
        loop.run_until_complete(stream.aclose())
        loop.close()
