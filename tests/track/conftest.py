import pytest


@pytest.fixture
def recipe():
    def make(method="KD", seed=0, mode="auto", **fields):
        return {
            "class": "raykd.recipe:Recipe",
            "method": {"class": f"raykd.methods.{method.lower()}:{method}.Config", "temperature": 4.0},
            "student": {"class": "raykd.models.config:Network", "name": "resnet8x4", "weights": ""},
            "data": {"source": {"class": "raykd.data.sources.digits:Digits"}, "image_size": 32, "root": "~", "loader": "ffcv"},
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
