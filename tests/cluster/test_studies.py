"""Studies on clusters: as a job, with a lost node, and with an autoscaler; tiny recipes, through the command line."""

import json
import re
import textwrap
from pathlib import Path

import pytest

from tests.cluster.head import head
from tests.cluster.test_autoscaling import autoscaled, until
from tests.cluster.test_nodes import story
from tests.support import tiny_recipe as tiny
from tests.support import tiny_study

BAD = ', Row(name="bad", method=Fragile.Config(bad="nan"), columns=("small",))'

RATES = """
from raykd.recipe.study import Column, Row, Study

rates = [SGD(learning_rate=0.01 * i) for i in range(1, {columns} + 1)]
study = Study(
    rows=(Row(name="alone", method=Fragile.Config()),),
    columns=tuple(
        Column(name=f"rate {{i}}", recipe=replace(base, epochs={epochs}, optimizer=rate))
        for i, rate in enumerate(rates, 1)
    ),
    seeds=(0,),
)
"""


def rates(folder: Path, columns: int, epochs: float) -> Path:
    """A study of one row, with a learning rate for each column."""
    path = tiny.write(folder, "rates", "base", folder / "data")
    path.write_text(path.read_text() + textwrap.dedent(RATES).format(columns=columns, epochs=epochs))
    return path


@pytest.mark.slow
def test_a_submitted_study_logs_its_progress_in_lines():
    with head(2, WANDB_MODE="disabled") as one:
        folder = one.folder / "tables"
        folder.mkdir()
        path = tiny_study.write(folder, "table", one.folder / "data", rows=BAD)
        words = ("--command", "study", "--address", one.dashboard, "--seeds", "0", "--name", "table")
        done = one.run("raykd", "submit", str(path), *words, timeout=900)
        log = done.stdout
        assert done.returncode == 1, log + done.stderr
        assert f"storage: {one.folder}/raykd/runs" in log and "5 runs of 5 cells, 0 finished" in log
        lines = re.findall(r"^ +\d+ s  (.*?) (starts|finished|failed)", log, re.MULTILINE)
        ended = {name for name, what in lines if what == "finished"}
        names = {f"{row}, {column}, seed 0" for row in ("alone", "KD") for column in ("small", "larger")}
        assert names <= ended and len(ended) == 5  # and one teacher
        (missing,) = re.findall(r"^missing: (.*)", log, re.MULTILINE)
        assert missing.startswith("bad, small, seed 0: ") and "not finite" in missing
        assert "4 of 5 runs are finished; to compare them: raykd report" in log and "failed, exit status 1" in log
        assert "\x1b[" not in log  # lines, not a table that is drawn anew
        table = json.loads((one.folder / "raykd/runs/table/study.json").read_text())
        assert sorted(cell["status"] for cell in table["cells"]) == ["failed"] + ["finished"] * 4


@pytest.mark.slow
def test_a_lost_node_loses_at_most_one_checkpoint_interval(tmp_path):
    """Two nodes of one CPU with a cell on each; one node is removed when both cells have a checkpoint, and another
    added."""
    path = rates(tmp_path, 2, 40)
    told = story(
        tmp_path,
        """
        cluster = begin(0, 1, 1)
        command = [sys.executable, "-m", "raykd", "study", words[0], "--checkpoint.every", "5 steps",
                   "--storage", str(folder / "runs"), "--name", "rates"]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env=os.environ | {"WANDB_MODE": "disabled"})
        cells = [folder / f"runs/rates/alone/rate-{i}/0" for i in (1, 2)]
        def steps(cell):
            stamps = cell.glob("checkpoints/*/stamp.json")
            return sorted(int(stamp.parent.name.removeprefix("step-")) for stamp in stamps)

        end_at = time.monotonic() + 400
        while not all(map(steps, cells)) and time.monotonic() < end_at:
            time.sleep(0.1)
        cluster.remove_node(list(cluster.worker_nodes)[0])
        before = [steps(cell)[-1] for cell in cells]
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        log = run.communicate()[0]
        starts = [[a["step"] for a in json.loads((cell / "attempts.json").read_text())] for cell in cells]
        done = [json.loads((cell / "result.json").read_text())["status"] for cell in cells]
        print(json.dumps({"status": run.wait(), "log": log, "before": before, "starts": starts, "done": done}))
        cluster.shutdown()
        """,
        str(path),
    )
    assert told["status"] == 0 and told["done"] == ["finished"] * 2, told["log"]
    assert sorted(map(len, told["starts"])) == [1, 2], told
    (lost,) = [i for i, starts in enumerate(told["starts"]) if len(starts) == 2]
    assert told["starts"][lost][1] >= told["before"][lost] > 0  # the newest checkpoint that stood when the node went
    assert "was lost" in told["log"] and "starts again" in told["log"]


@pytest.mark.slow
def test_a_study_scales_the_cluster_up_and_down(tmp_path):
    with autoscaled(tmp_path) as (one, address):
        path = rates(tmp_path, 4, 2)
        words = (str(path), "--storage", str(one.folder / "runs"), "--name", "rates")
        study = one.start("raykd", "study", *words, RAY_ADDRESS=address, WANDB_MODE="disabled")
        until(one, 2)
        log = study.communicate(timeout=900)[0]
        assert study.returncode == 0, log
        assert "room for 0 now; the autoscaler may add" in log and "4 of 4 runs are finished" in log
        until(one, 0)
