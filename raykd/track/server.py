"""Access to W&B's client and server: quiet, with time limits, and the key from W&B's own locations."""

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

PROBE_SECONDS = 5.0
FINISH_SECONDS = 60


def quiet_wandb() -> Any:
    """The wandb module without console output, prompts, and crash reports to its makers."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    return wandb


def private_settings(wandb: Any, seconds: float) -> Any:
    """Settings: quiet, with time limits, and without the command line, host name and git remote.

    seconds: limit of the upload at a run's end.
    """
    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,
        x_save_requirements=False,
        init_timeout=20,
        finish_timeout=seconds,
        finish_timeout_raises=True,
    )


def unreachable() -> str:
    """Why W&B can't be used now, "" if it can; takes at most some seconds."""
    server = quiet_wandb().setup().settings.base_url
    if not has_key():
        return "no key (wandb login, or WANDB_API_KEY)"
    return "" if in_time(lambda: answers(server), PROBE_SECONDS) else f"{server} does not respond"


def has_key() -> bool:
    """Whether there is a key in W&B's own locations."""
    return "WANDB_IDENTITY_TOKEN_FILE" in os.environ or key() != ""


def key() -> str:
    """The key from W&B's own locations, for a run on another machine; "" if there is none."""
    from requests.utils import get_netrc_auth

    if "WANDB_API_KEY" in os.environ:
        return os.environ["WANDB_API_KEY"]
    login = get_netrc_auth(quiet_wandb().setup().settings.base_url)
    return login[1] if login else ""


def answers(server: str) -> bool:  # call it through in_time: looking up a host name ignores timeouts
    try:
        urllib.request.urlopen(server, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def in_time(call: Callable[[], Any], seconds: float) -> Any:
    """The result of `call`; False if it takes longer (it then continues). Its exceptions are raised here."""
    answers: list[Any] = []

    def answer() -> None:
        try:
            answers.append(call())
        except Exception as error:  # noqa: BLE001 - raised in the caller's thread
            answers.append(error)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    thread.join(seconds)
    if answers and isinstance(answers[0], Exception):
        raise answers[0]
    return bool(answers) and answers[0]
