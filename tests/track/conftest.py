import contextlib

import pytest
import wandb

from raykd.track import server as client
from tests.track.wandb_stub import Stub

KEY = "planted0key0that0must0never0be0written0x"


@pytest.fixture
def recipe():
    def make(method="KD", seed=0, mode="auto", **fields):
        return {
            "class": "raykd.recipe:Recipe",
            "method": {"class": f"raykd.methods.{method.lower()}:{method}.Config", "temperature": 4.0},
            "student": {"class": "raykd.models.config:Network", "name": "resnet8x4", "weights": ""},
            "data": {
                "source": {"class": "raykd.data.sources.digits:Digits"},
                "image_size": 32,
                "root": "~",
                "loader": "ffcv",
            },
            "teachers": {"class": "raykd.recipe:Teachers", "sources": [], "max_parallel": 0},
            "epochs": 4,
            "batch_size": 64,
            "seed": seed,
            "workers": 2,
            "cpus_per_worker": 1,
            "gpus_per_worker": 0,
            "wandb": {"mode": mode, "project": "raykd", "entity": "", "group": "", "tags": []},
            "published": [],
            **fields,
        }

    return make


@pytest.fixture
def server(monkeypatch, tmp_path):
    wandb.teardown()  # it keeps the server's address of whoever used it first in this process
    monkeypatch.delenv("WANDB_MODE", raising=False)
    stub = Stub().start()
    monkeypatch.setenv("WANDB_BASE_URL", stub.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    private = client.private_settings
    hasty = wandb.Settings(x_file_stream_transmit_interval=0.1, x_transaction_log_flush_interval=0.1)
    monkeypatch.setattr(client, "private_settings", lambda wandb: merged(private(wandb), hasty))
    monkeypatch.setattr(client, "PROBE_SECONDS", 2.0)
    monkeypatch.setattr(client, "FINISH_SECONDS", 30)
    yield stub
    if stub.alive:
        stub.kill()
    with contextlib.suppress(ConnectionError):  # of the service that a test killed
        wandb.teardown()


def merged(settings, more):
    return settings.model_copy(update={name: getattr(more, name) for name in more.model_fields_set})
