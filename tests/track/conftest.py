import contextlib

import pytest
import wandb

from raykd.track import server as client
from tests.support.synthetic_runs import new_recipe
from tests.track.wandb_stub import Stub

KEY = "planted0key0that0must0never0be0written0x"


@pytest.fixture
def recipe():
    return new_recipe


@pytest.fixture
def server(monkeypatch, tmp_path):
    wandb.teardown()  # it keeps the server's address of whoever used it first in this process
    monkeypatch.delenv("WANDB_MODE", raising=False)
    stub = Stub().start()
    monkeypatch.setenv("WANDB_BASE_URL", stub.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    private = client.private_settings
    hasty = wandb.Settings(x_file_stream_transmit_interval=0.1, x_transaction_log_flush_interval=0.1)
    monkeypatch.setattr(client, "private_settings", lambda wandb, seconds: merged(private(wandb, seconds), hasty))
    monkeypatch.setattr(client, "PROBE_SECONDS", 2.0)
    monkeypatch.setattr(client, "FINISH_SECONDS", 30)
    yield stub
    if stub.alive:
        stub.kill()
    with contextlib.suppress(ConnectionError):  # of the service that a test killed
        wandb.teardown()


def merged(settings, more):
    return settings.model_copy(update={name: getattr(more, name) for name in more.model_fields_set})
