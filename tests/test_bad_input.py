"""Invalid input through the command line: exit status 2, one line that says what to do, and nothing written."""

import dataclasses
import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch

from raykd.__main__ import BY_RECIPE, main
from raykd.data.storage.prepare import prepare
from raykd.recipes.digits.supervised import recipe as digits

SUPERVISED = "recipes/digits/supervised.py"
QUICK = ("--workers", "0", "--epochs", "0.1", "--wandb.mode", "disabled")
START = "from dataclasses import replace\nfrom raykd.recipe import *\n"
START += "from raykd.recipes.digits.supervised import recipe as base\n"


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent.parent)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAYKD_STORAGE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run that tests copy and damage."""
    storage = tmp_path_factory.mktemp("finished")
    assert main(["train", SUPERVISED, *QUICK, "--storage", str(storage), "--name", "run"]) == 0
    return storage / "run"


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def refused(capsys, folder: Path, arguments, says):
    """Run a command that must be rejected; returns its one line."""
    import re

    before = files(folder)
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert status == 2, said
    said = "".join(line for line in said.splitlines(keepends=True) if not line.startswith("warning: "))
    assert said.startswith("raykd: ") and said.count("\n") == 1 and "Traceback" not in said
    for word in [says] if isinstance(says, str) else says:
        assert re.search(word, said), said
    assert files(folder) == before
    return said


COMMAND_LINE = [
    ("trian recipes/digits/kd.py", "did you mean 'train'"),
    ("trane", "train"),
    ("list nothing", "nothing.*methods"),
    ("train", "needs a recipe"),
    ("train --epochs 3", "needs a recipe"),
    ("train recipes/digits/none.py", "no recipe at.*none.py"),
    ("train recipes/digits", "no recipe .recipes.digits"),
    ("train README.md", "README.md"),
    ("eval", "^raykd: raykd eval requires RUN$"),
    ("new", "^raykd: raykd new requires FILE, --data, --student$"),
    ("report --bseline x", "^raykd: Unrecognized options: --bseline, x: did you mean --baseline\\?$"),
    ("eval /nowhere/at/all", "/nowhere/at/all is not a run directory"),
    ("eval /nowhere --thread 1", "thread"),
    ("export /nowhere", "--to"),
    ("export /nowhere --to student.onx", "onx.*safetensors"),
    ("export /nowhere --to {tmp}/s.safetensors", "not a run directory"),
    ("report", "needs runs"),
    ("report /nowhere", "/nowhere"),
    ("tune", "needs a recipe"),
    ("tune recipes/digits/supervised.py", "neither a search nor teachers"),
    ("data", "prepare"),
    ("data prepare nothing", "nothing.*sources"),
    ("submit", "needs a recipe"),
    ("submit recipes/digits/kd.py", "--address"),
    ("submit recipes/digits/kd.py --address http://127.0.0.1:1 --storage runs", "storage"),
    ("submit recipes/digits/kd.py --address http://127.0.0.1:1 --storage /tmp/runs", "127.0.0.1:1"),
    (
        "submit recipes/digits/kd.py --address http://127.0.0.1:1 --storage s3://KEY:SECRET@b/x",
        "set credentials on the cluster",
    ),
    ("submit recipes/digits/kd.py --address http://127.0.0.1:1 --data.shared s3://K@b/x", "read the job's command"),
]


@pytest.mark.parametrize("command", BY_RECIPE)
def test_help_without_a_recipe_explains_how_to_get_the_options(capsys, command):
    """These commands have the fields of their recipe as options."""
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"raykd {command}" in shown and (command == "list" or f"{BY_RECIPE[command]} --help" in shown)


@pytest.mark.parametrize(("line", "says"), COMMAND_LINE, ids=[line for line, _ in COMMAND_LINE])
def test_invalid_command_lines_are_rejected(capsys, tmp_path, line, says):
    refused(capsys, tmp_path, line.format(tmp=tmp_path).split(), says)


OVERRIDES = [
    ("--epoch 3", "did you mean --epochs or "),
    ("--epochs many", "raykd: --epochs: could not convert string to float: 'many'$"),
    ("--epochs 0", "epochs"),
    ("--epochs nan", "epochs"),
    ("--epochs inf", "epochs"),
    ("--batch-size 1.5", "batch-size"),
    ("--batch-size 0", "batch_size"),
    ("--batch-size 1 --workers 2", "batch_size.*2 worker"),
    ("--workers -1", "workers"),
    ("--workers 3 1", "workers"),
    ("--workers 0 2", "workers"),
    ("--workers x", "workers"),
    ("--cpus-per-worker 0", "cpus_per_worker"),
    ("--gpus-per-worker 2", "gpus_per_worker"),
    ("--gpus-per-worker -1", "gpus_per_worker"),
    ("--max-failures -2", "max_failures"),
    ("--collective-timeout 0", "collective_timeout"),
    ("--node-labels nonsense", "node_labels"),
    ("--seed x", "seed"),
    ("--accumulate 0", "accumulate"),
    ("--log-every 0", "log_every"),
    ("--evaluate-every 0", "evaluate_every"),
    ("--ema 1", "ema"),
    ("--ema -0.1", "ema"),
    ("--precision.autocast float8", "autocast.*bfloat16"),
    ("--checkpoint.every soon", "checkpoint.every.*10 minutes"),
    ("--checkpoint.every '0 steps'", "checkpoint.every"),
    ("--checkpoint.every '2.5 steps'", "checkpoint.every"),
    ("--checkpoint.every 'nan minutes'", "checkpoint.every"),
    ("--checkpoint.keep 0", "checkpoint.keep"),
    ("--wandb.mode sometimes", "mode.*offline"),
    ("--wandb.project team/project", "wandb.project.*without /"),
    (f"--wandb.project {'p' * 200}", "wandb.project.*128"),
    ("--wandb.tags ''", "wandb.tags.0.*given"),
    (f"--wandb.tags a {'t' * 65}", "wandb.tags.1.*64"),
    ("--wandb.entity a/b", "wandb.entity.*without /"),
    (f"--wandb.group {'g' * 129}", "wandb.group.*128"),
    ("--sync-batchnorm", "sync_batchnorm.*GPUs only"),
    ("--sync-batchnorm --workers 2", "sync_batchnorm.*GPUs only"),
    ("--accumulate 65 --batch-size 64", "accumulate.*at most 64"),
    ("--accumulate 4 --batch-size 7 --workers 2", "accumulate.*at most 3"),
    (f"--name {'n' * 180}", "name.*120"),
    ("--name a\x1b[2J", "name.*printable"),
    ("--storage s3://KEY:SECRET@/x", r"s3://\*\*\*@"),
    ("--optimizer.learning-rate -1", "optimizer.learning_rate"),
    ("--optimizer.learning-rate nan", "optimizer.learning_rate"),
    ("--optimizer.weight-decay -1", "optimizer.weight_decay"),
    ("--optimizer.clip-norm -1", "optimizer.clip_norm"),
    ("--optimizer.momentum 0", "momentum.*nesterov"),
    ("--optimizer.momentum 2", "optimizer.momentum"),
    ("--schedule.warmup-steps -5", "schedule.warmup_steps"),
    ("--student.name resnet9", "unknown network 'resnet9'.*resnet8"),
    ("--student.name tomch:resnet18", "tomch.*torchvision"),
    ("--student.name timm:resnet1818", "timm:resnet1818"),
    ("--student.weights pretrained", "resnet8 has no published weights"),
    ("--student.weights /nowhere.safetensors", "/nowhere.safetensors: no such"),
    ("--student.weights README.md", "README.md.*safetensors"),
    ("--data.validation 1.5", "data.validation"),
    ("--data.validation -0.1", "data.validation"),
    ("--data.image-size 0", "data.image_size"),
    ("--data.image-size 3000", "image_size.*3000"),
    ("--data.std 0 0 0", "data.std"),
    ("--data.root /dev/null/data", "data.root"),
    ("--data.encoding.quality 0", "quality"),
    ("--storage /dev/null/runs", "--storage"),
    ("--storage nonsense://runs", "nonsense://"),
    ("--name ../outside", "name"),
    ("--name /absolute", "name"),
    ("--name ''", "name"),
]


@pytest.mark.parametrize(("line", "says"), OVERRIDES, ids=[line for line, _ in OVERRIDES])
def test_invalid_overrides_are_rejected(capsys, tmp_path, line, says):
    import shlex

    more = [word for word in QUICK if word not in line or word.isdigit()]
    start = ["train", SUPERVISED, *QUICK, "--storage", str(tmp_path / "runs")]
    refused(capsys, tmp_path, [*start, *shlex.split(line)] if more else start, says)


RECIPES = [
    ("recipe = (\n", "SyntaxError"),
    ("", "module-level"),
    ("recipe = 3\n", "module-level"),
    ("x = 1\nraise ValueError('too bad')\n", "line 2.*too bad"),
    ("import sys\nsys.exit(0)\n", "SystemExit"),
    ("import no_such_module\n", "no_such_module"),
    (b"recipe = '\xff\xfe'\n", "fails to import"),
    (START + "recipe = replace(base, seed='x')\n", "recipe.seed"),
    (START + "recipe = replace(base, sead=1)\n", "sead"),
    (START + "recipe = replace(base, method=None)\n", "recipe.method"),
    (START + "recipe = replace(base, student='resnet8')\n", "recipe.student"),
    (START + "from raykd.method import MethodConfig\nrecipe = replace(base, method=MethodConfig())\n", "method"),
    (START + "recipe = replace(base, teachers=Teachers(sources=(Run(path='runs/t'),)))\n", "teachers.*remove"),
    (START + "from raykd.methods.kd import KD\nrecipe = replace(base, method=KD.Config())\n", "kd takes 1 teacher"),
    (
        START + "from raykd.methods.kd import KD\nrecipe = replace(base, method=KD.Config(temperature=0.0), "
        "teachers=Teachers(sources=(Pretrained(network=base.student),)))\n",
        "temperature",
    ),
    (
        START + "from raykd.methods.kd import KD\n"
        "recipe = replace(base, method=KD.Config(), teachers=Teachers(sources=(Run(path='/nowhere'),)))\n",
        "/nowhere has no student.safetensors",
    ),
    (START + "from raykd.methods.teskd import TESKD\nrecipe = replace(base, method=TESKD.Config())\n", "four stages"),
]


@pytest.mark.parametrize(("text", "says"), RECIPES, ids=range(len(RECIPES)))
def test_invalid_recipes_are_rejected(capsys, tmp_path, text, says):
    path = tmp_path / f"bad_{tmp_path.name.strip('-')}.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    sys.dont_write_bytecode = True
    refused(capsys, tmp_path, ["train", path, *QUICK, "--storage", tmp_path / "runs"], says)


def test_invalid_recipe_file_names_are_rejected(capsys, tmp_path):
    (tmp_path / "two-words.py").write_text(START + "recipe = base\n")
    refused(capsys, tmp_path, ["train", tmp_path / "two-words.py"], "file name")


def scribble(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


DATA = {
    "manifest": (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is damaged"),
    "manifest-list": (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json"),
    "manifest-empty": (lambda f: (f / "manifest.json").write_text("{}"), "other settings"),
    "manifest-keys": (lambda f: change(f / "manifest.json", lambda m: m.pop("train")), "manifest.json"),
    "manifest-types": (lambda f: change(f / "manifest.json", lambda m: m.update(train=3)), "manifest.json"),
    "stale": (lambda f: change(f / "manifest.json", lambda m: m.update(format=0)), "other settings.*format"),
    "truncated": (lambda f: truncate(f / "train.beton"), "train.beton.*truncated"),
    "missing": (lambda f: (f / "test.beton").unlink(), "test.beton is missing"),
    "version": (lambda f: scribble(f / "train.beton", 0, b"\x09"), "train.beton.*version"),
    "fields": (lambda f: scribble(f / "train.beton", 24, b"\x07"), "train.beton"),
    "zeros": (lambda f: scribble(f / "test.beton", 0, bytes(24)), "test.beton"),
    "samples": (lambda f: scribble(f / "train.beton", 8, b"\xff" * 8), "train.beton"),
    "table": (lambda f: scribble(f / "train.beton", 16, b"\xff" * 8), "train.beton"),
    "labels": (lambda f: scribble(f / "test.beton", 24 + 2 * 1041, b"\x7f" * 600), "test.beton"),
}


def change(path: Path, how) -> None:
    plain = json.loads(path.read_text())
    how(plain)
    path.write_text(json.dumps(plain))


@pytest.mark.parametrize("case", DATA)
def test_invalid_data_is_rejected(capsys, tmp_path, case):
    damage, says = DATA[case]
    source = prepare(digits.data).train.parent
    folder = shutil.copytree(source, tmp_path / "data" / source.name)
    damage(folder)
    refused(
        capsys, tmp_path, ["train", SUPERVISED, *QUICK, "--storage", tmp_path, "--data.root", tmp_path / "data"], says
    )


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def of(network: str, classes: int = 10):
    from raykd.models import create

    return create(network, classes, image_size=32).model.state_dict()


WEIGHTS = {
    "cut.pth": (lambda p: (torch.save(of("resnet8"), p), truncate(p)), "cut.pth"),
    "empty.safetensors": (lambda p: p.write_bytes(b""), "empty.safetensors"),
    "bomb.pth": (lambda p: p.write_bytes(pickle.dumps(Bomb(p.parent / "boom"))), "bomb.pth.*safely"),
    "other.pth": (lambda p: torch.save(of("resnet14"), p), "does not fit resnet8"),
    "classes.pth": (lambda p: torch.save(of("resnet8", 7), p), "7 classes"),
    "numbers.pth": (lambda p: torch.save({"a": 1}, p), "state_dict"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_invalid_weights_are_rejected(capsys, tmp_path, name):
    make, says = WEIGHTS[name]
    make(tmp_path / name)
    arguments = ["train", SUPERVISED, *QUICK, "--storage", tmp_path / "runs", "--student.weights", tmp_path / name]
    refused(capsys, tmp_path, arguments, says)


def stamps(run: Path):
    return sorted(run.glob("checkpoints/*/state.pt"))


def header(run: Path, **changes) -> None:
    """Change what student.safetensors says of itself."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = run / "student.safetensors"
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["raykd"])
    tensors = load_file(path)
    save_file(tensors, path, metadata={"raykd": json.dumps(about | changes)})


def recipe(run: Path, **changes) -> None:
    change(run / "recipe.json", lambda plain: plain.update(changes))


def foreign(path: str):
    return lambda run: change(run / "recipe.json", lambda plain: plain["method"].update({"class": path}))


TEACHER = START + (
    "from raykd.methods.kd import KD\n"
    "recipe = replace(base, method=KD.Config(), teachers=Teachers(sources=(Run(path={run!r}),)))\n"
)
RESNET14 = {"class": "raykd.models.config:Network", "name": "resnet14", "weights": ""}
AGAIN = ("train", SUPERVISED, *QUICK, "--name", "run", "--storage", "{storage}")
EVAL, EXPORT = ("eval", "{run}"), ("export", "{run}", "--to", "{storage}/out.safetensors")
RUNS = {
    "no recipe": (lambda run: (run / "recipe.json").unlink(), EVAL, "not a run directory"),
    "recipe cut": (lambda run: truncate_by(run / "recipe.json"), EVAL, "recipe.json is not valid JSON"),
    "recipe empty": (lambda run: (run / "recipe.json").write_text(""), EVAL, "recipe.json"),
    "recipe binary": (lambda run: (run / "recipe.json").write_bytes(b"\xff\xfe\x00"), EVAL, "recipe.json"),
    "recipe list": (lambda run: (run / "recipe.json").write_text("[1]"), EVAL, "recipe"),
    "recipe deep": (lambda run: (run / "recipe.json").write_text("[" * 10**5), EVAL, "recipe.json"),
    "recipe field": (lambda run: recipe(run, epochs="x"), EVAL, "recipe.json: epochs"),
    "recipe unknown": (lambda run: recipe(run, epoch=1), EVAL, "unknown field.*epoch"),
    "foreign module": (foreign("antigravity:KD"), EVAL, "antigravity.*trust"),
    "foreign class": (foreign("os:system"), EVAL, "os:system is not"),
    "foreign form": (foreign("raykd"), EVAL, "module:Class"),
    "no checkpoint": (lambda run: shutil.rmtree(run / "checkpoints"), EVAL, "no readable checkpoint"),
    "checkpoints cut": (lambda run: [truncate(path) for path in stamps(run)], EVAL, "no readable checkpoint"),
    "checkpoint misfit": (lambda run: recipe(run, student=RESNET14), EVAL, "doesn't fit"),
    "no student": (lambda run: (run / "student.safetensors").unlink(), EXPORT, "no student.safetensors"),
    "student cut": (lambda run: truncate(run / "student.safetensors"), EXPORT, "student.safetensors"),
    "student's network": (lambda run: header(run, network="resnet9"), EXPORT, "unknown network"),
    "student's classes": (lambda run: header(run, classes=["a"]), EXPORT, "classes"),
    "student's header": (lambda run: header(run, classes=3), EXPORT, "student.safetensors"),
    "another recipe": (lambda run: recipe(run, seed=5), AGAIN, r"another recipe.*seed \(5, here 0\).*--name"),
    "another's class": (foreign("antigravity:KD"), AGAIN, "--name"),
    "result damaged": (lambda run: (run / "result.json").write_text("{"), AGAIN, "result.json"),
    "result list": (lambda run: (run / "result.json").write_text("[]"), AGAIN, "result.json"),
    "attempts": (lambda run: unfinished(run, "attempts.json", "[1]"), AGAIN, "attempts.json"),
    "attempts cut": (lambda run: unfinished(run, "attempts.json", "["), AGAIN, "attempts.json"),
}


def truncate_by(path: Path) -> None:
    path.write_text(path.read_text()[:-20])


def unfinished(run: Path, name: str, text: str) -> None:
    (run / "result.json").unlink()
    (run / name).write_text(text)


@pytest.mark.parametrize("case", RUNS)
def test_invalid_run_directories_are_rejected(capsys, tmp_path, finished, case):
    damage, arguments, says = RUNS[case]
    run = shutil.copytree(finished, tmp_path / "run")
    damage(run)
    refused(capsys, tmp_path, [word.format(run=run, storage=tmp_path) for word in arguments], says)


@pytest.mark.parametrize("case", ["no student", "student cut", "student's classes"])
def test_invalid_teachers_are_rejected(capsys, tmp_path, finished, case):
    run = shutil.copytree(finished, tmp_path / "teacher")
    RUNS[case][0](run)
    path = tmp_path / "taught.py"
    path.write_text(TEACHER.format(run=str(run)))
    refused(capsys, tmp_path, ["train", path, *QUICK, "--storage", tmp_path / "runs"], "teacher|student")


USERS_OF_FFCV = ("raykd.data.ffcv.engine", "raykd.data.ffcv.page_cache", "raykd.data.ffcv.imports")


def test_missing_ffcv_is_reported(capsys, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "ffcv" or name in USERS_OF_FFCV]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ffcv", None)
    refused(capsys, tmp_path, ["train", SUPERVISED, *QUICK, "--storage", tmp_path], ["FFCV", "loader"])


def test_a_corrected_recipe_can_use_the_name_of_a_rejected_one(capsys, tmp_path):
    start = ["train", SUPERVISED, *QUICK, "--storage", tmp_path, "--name", "x"]
    refused(capsys, tmp_path, [*start, "--student.name", "resnet9"], "unknown network")
    assert main([str(word) for word in start]) == 0


def test_an_unreachable_cluster_is_rejected(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    start = ["train", SUPERVISED, *QUICK, "--storage", tmp_path]
    refused(capsys, tmp_path, [*start, "--workers", "1"], "127.0.0.1:1")


def test_a_cluster_whose_head_has_died_is_rejected(capsys, tmp_path, monkeypatch):
    """Ray's note of the head stays behind when that is killed."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    start = ["train", SUPERVISED, *QUICK, "--storage", tmp_path / "runs"]
    refused(capsys, tmp_path, [*start, "--workers", "1"], r"127.0.0.1:1.*remove .*ray_current_cluster")


def test_wandb_online_mode_without_a_key_is_rejected(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    start = ["train", SUPERVISED, "--workers", "0", "--epochs", "0.1", "--storage", tmp_path]
    refused(capsys, tmp_path, [*start, "--wandb.mode", "online"], "wandb.mode: online, but there is no key")


def test_there_are_at_least_sixty_cases():
    assert sum(map(len, (COMMAND_LINE, OVERRIDES, RECIPES, DATA, WEIGHTS, RUNS))) >= 60
    assert dataclasses.is_dataclass(digits)
