import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


class CommandLine:
    """`python -m raykd` in a separate process, with its storage in a temporary folder."""

    def __init__(self, storage: Path):
        self.storage = storage
        self.environment = {
            **os.environ,
            "RAYKD_STORAGE": str(storage),
            "WANDB_MODE": "disabled",
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *arguments, cwd=ROOT, **options):
        command = [sys.executable, "-m", "raykd", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=cwd, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )

    def __call__(self, *arguments, cwd=ROOT, status=0):
        """Standard output of a command that ends with `status`."""
        process = self.start(*arguments, cwd=cwd)
        output, errors = process.communicate(timeout=400)
        assert process.returncode == status, f"{output}\n{errors}"
        return output if status == 0 else errors

    def json(self, name):
        return json.loads((self.storage / name).read_text())


@pytest.fixture(scope="module")
def raykd(tmp_path_factory):
    return CommandLine(tmp_path_factory.mktemp("storage"))


@pytest.fixture(scope="module")
def ray():
    """Ray in this process, with two CPUs."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        patch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        yield ray
        ray.shutdown()
