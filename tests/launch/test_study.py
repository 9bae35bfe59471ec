"""Studies: scheduling and display as pure functions, and whole studies on a Ray session with two CPUs."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.utils.callback import _create_default_callbacks
from rich.console import Console

from raykd import UserError
from raykd.commands.study import choose
from raykd.data.storage.prepare import identity_of
from raykd.launch.cluster.autoscaler import Limits
from raykd.launch.cluster.placement_groups import placed
from raykd.launch.study.estimate import before_cells
from raykd.launch.study.plan import runs_of
from raykd.launch.study.progress import cell_text, duration, fitting, matrix, seconds_left
from raykd.launch.study.run import StudyRun
from raykd.launch.teachers.plan import TeacherPlan
from raykd.launch.trials.progress import NoOutput, WaitingMessage
from raykd.launch.trials.queue import Job, Queue, State, admission, left_by_others
from raykd.launch.trials.side_by_side import at_most
from raykd.recipe.study import Column, Row, Study
from raykd.recipe.study.cells import cells
from raykd.reports.make import make
from raykd.reports.tables.study import read_study
from raykd.storage.folder import Folder
from recipes.digits.supervised import recipe as digits
from tests.support import tiny_study

ONE = replace(digits, workers=1)


def queue(*jobs, room=1, most=0):
    return Queue({job.name: job for job in jobs}, lambda recipe: room, lambda waiting: lambda recipe: True, most)


def job(name, *teachers, workers=1):
    return Job(name=name, recipe=replace(ONE, workers=workers), teachers=teachers)


def started(of):
    found = []
    while (job := of.next()) is not None:
        found.append(job.name)
    return found


def test_a_job_starts_as_soon_as_its_teachers_are_trained():
    jobs = queue(job("t1"), job("t2", "t1"), job("a", "t1"), job("b", "t2", "t1"), job("c", "found before"))
    assert started(jobs) == ["t1", "c"]
    jobs.finish("t1")
    assert started(jobs) == ["t2", "a"]
    jobs.finish("a")
    assert not started(jobs) and not jobs.empty
    jobs.finish("t2")
    assert started(jobs) == ["b"] and jobs.empty


def test_a_failed_teacher_fails_its_students():
    jobs = queue(job("t1"), job("t2", "t1"), job("a", "t2"), job("b"))
    assert started(jobs) == ["t1", "b"]
    assert jobs.fail("t1", "no memory") == ["t1", "t2", "a"]
    assert jobs.states["a"].reason == "its teacher t2 failed: no memory"
    assert jobs.empty and jobs.states["b"].status == "running"


def test_concurrency_is_limited_by_request_and_resources():
    assert started(queue(*map(job, "abcd"), most=2)) == ["a", "b"]
    several = [job(name, workers=2) for name in "abc"]
    assert started(queue(*several, job("d"), room=2)) == ["a", "b", "d"]


@pytest.mark.parametrize(
    "known, most, expected", [(True, 0, 6), (True, 1, 1), (True, 9, 6), (False, 0, 0), (False, 9, 9)]
)
def test_tune_gets_one_more_run_than_fits(monkeypatch, known, most, expected):
    monkeypatch.setattr("raykd.launch.trials.side_by_side.concurrent_runs", lambda recipe: 6 - recipe.workers)
    monkeypatch.setattr(Limits, "read", staticmethod(lambda: Limits(known=known)))
    assert at_most(queue(job("a"), most=most), [ONE]) == expected


def test_the_progress_matrix_describes_each_cell():
    there, other = State("finished", top1=0.99), State("finished", top1=0.97)
    assert str(cell_text([there, other])) == "98.00 ± 1.41"
    running = State("running", 1.0, 4.0, 0.5)
    assert str(cell_text([there, running, State("waiting")])) == "99.00 25 %"
    assert str(cell_text([there, other, running, State("failed")])) == "98.00 25 %"
    assert str(cell_text([State("waiting")])) == "·"
    assert str(cell_text([State("failed"), there])) == "99.00 failed"


def test_running_cells_are_shown_when_space_is_short():
    assert fitting(list("abcd"), {"d"}, 2) == ["a", "d"]
    assert fitting(list("abcd"), set(), 9) == list("abcd")
    assert fitting(list("abcd"), {"c"}, 0) == ["c"]


def test_waiting_is_reported_only_while_nothing_trains(monkeypatch):
    monkeypatch.setattr("raykd.launch.cluster.capacity.waiting", lambda recipe: f"waiting for {recipe.workers}")

    def said(*trials):
        text = io.StringIO()
        waits = WaitingMessage([ONE, replace(ONE, workers=2)], Console(file=text), seconds=0)
        for iteration in range(2):
            waits.on_step_end(iteration, list(trials))
        return text.getvalue()

    def trial(status, kind, **result):
        return SimpleNamespace(status=status, config={"kind": kind}, run_metadata=SimpleNamespace(last_result=result))

    pending = trial("PENDING", 0)
    assert said(pending) == "  waiting for 1\n"
    assert said(pending, trial("RUNNING", 0)) == said(pending, trial("RUNNING", 1, epoch=0.5)) == ""
    assert said(pending, trial("RUNNING", 1)) == "  waiting for 1\n"  # its own workers may wait


def test_tune_prints_nothing_about_a_trial_without_reports(capsys):
    (output,) = [each for each in _create_default_callbacks([NoOutput()]) if isinstance(each, TrialProgressCallback)]
    output.on_trial_complete(0, [], SimpleNamespace(last_result={}))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width, columns", [(60, 3), (100, 5)])
def test_the_matrix_stays_within_the_terminal(width, columns):
    table = Study(
        rows=tuple(Row(name=f"method {i}", method=digits.method) for i in range(40)),
        columns=tuple(Column(name=f"resnet{i} → resnet8", recipe=digits) for i in range(9)),
    )
    runs = runs_of(cells(table), (0, 1), "table")
    states = {run.name: State("finished", top1=0.7) for run in runs} | {runs[-1].name: State("running", 1.0, 4.0)}
    text = io.StringIO()
    console = Console(file=text, width=width, height=30)
    console.print(matrix(runs, states, "719 of 720 runs   2/2 CPUs in use   45 s   about 1 min left", width, 30))
    lines = text.getvalue().splitlines()
    assert len(lines) <= 30 and lines[0].startswith("719 of 720") and max(map(len, lines)) <= width
    assert lines[-1] == f"and 16 more rows, {9 - columns} more columns"
    assert any(line.startswith("method 39") and line.rstrip().endswith("70.00 25 %") for line in lines)


def test_the_remaining_time_is_estimated():
    jobs = queue(*map(job, "abcde"), most=2)
    assert started(jobs) == ["a", "b"] and seconds_left(jobs, [], 100.0) is None
    jobs.states["a"].began, jobs.states["b"].began = 90.0, 95.0
    assert seconds_left(jobs, [20.0, 40.0], 100.0) == (20 + 25 + 3 * 30) / 2
    assert [duration(s) for s in (45, 700, 12000)] == ["45 s", "12 min", "3 h 20 min"]


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def write(*words, rows="", more=""):
        path = tmp_path / "tiny_table.py"
        if not path.exists():
            tiny_study.write(tmp_path, path.stem, tmp_path / "data", rows, more)
        return choose([str(path), "--storage", str(tmp_path / "runs"), "--name", "table", *words])[0]

    return write


@pytest.mark.parametrize(
    "words, message",
    [
        (["--rows", "DKD"], "--rows: the study has no row 'DKD'; its rows are alone; KD"),
        (["--columns", "x"], "--columns: the study has no column 'x'"),
        (["--row", "DKD", "--epochs", "3"], "--rows: the study has no row 'DKD'"),
        (["--row", "alone", "--method.temperature", "2"], "row alone, column small: .*temperature"),
        (["--epochs", "-1"], "row alone, column small: epochs: -1.0 must be above 0"),
        (["--batch-sise", "3"], "row alone, column small: .*batch-sise"),
        (["--rows"], "--rows: give at least one"),
        (["--seeds", "--rows", "KD"], "--seeds: give at least one"),
        (["--row", "KD"], "--row KD: give the fields that change in it, or --rows KD"),
        (["--bogus", "3"], "row alone, column small: Unrecognized options: --bogus"),
        (["--seeds", "x"], "^--seeds: Could not find valid parse"),
        (["--seed", "3"], "--seed: it is set by the study; use --seeds"),
        (["--name", "../x"], "row alone, column small: name: .* must be a path below the storage"),
        (["--batch-size", "1", "--workers", "2"], "row alone, column small: batch_size: 1 is less than one image"),
        (["--teachers.placement", "remote"], "row KD, column small: teachers.placement: a study reserves no resources"),
    ],
)
def test_invalid_studies_are_rejected_before_anything_starts(study, words, message, tmp_path):
    with pytest.raises(UserError, match=message):
        study(*words)
    assert not (tmp_path / "runs").exists()


def test_finished_runs_of_other_data_are_counted(study, tmp_path):
    notes = []
    display = SimpleNamespace(note=notes.append)
    started = StudyRun(study(), display)
    of_now, *others = [run for run in started.runs if run.cell.row.name == "alone"]
    started.finished = {run.name: 0.5 for run in (of_now, *others)}
    started._note_outdated()
    assert not notes
    for run in others:
        Folder(tmp_path / "runs" / run.name).write("data.json", json.dumps({"identity": "digits-of-yesterday"}))
    now = {"identity": identity_of(of_now.recipe.data)}
    Folder(tmp_path / "runs" / of_now.name).write("data.json", json.dumps(now))
    started._note_outdated()
    (note,) = notes
    assert note.startswith("the data changed since 3 finished runs were trained")


def test_overrides_apply_to_all_cells_a_row_or_a_column(study):
    words = (
        "--epochs 3 --teachers.sources.0.recipe.epochs 2 --precision.no-tf32 --row KD --method.temperature 2 --epochs 7"
    )
    found = study(*words.split(), "--column", "larger", "--batch-size=16").cells
    recipes = {cell.path: cell.recipe for cell in found}
    assert [recipe.epochs for recipe in recipes.values()] == [3.0, 3.0, 7.0, 7.0]
    assert [recipe.batch_size for recipe in recipes.values()] == [32, 16, 32, 16]
    assert {recipe.precision.tf32 for recipe in recipes.values()} == {False}
    assert recipes["KD/small"].method.temperature == 2 and recipes["KD/small"].teachers.sources[0].recipe.epochs == 2


def test_published_figures_are_assigned_to_cells(study, tmp_path):
    head = "paper,table,dataset,teacher,student,method,metric,kind,mean,std,n,source,note\n"
    lines = [
        "P,1,few,r14,r8,KD,top1,accuracy,70.5,0.2,5,url,[own] last epoch",
        "P,1,few,,r8,student,top1,error,40,,,url,[copied]",
        "P,1,few,r56,r8,KD,top1,accuracy,71,,,url,[own] another teacher",
        "P,1,few,r14,r8,KD,top5,accuracy,99,,,url,[own]",
    ]
    (tmp_path / "figures.csv").write_text(head + "\n".join(lines) + "\n")
    more = '\n    published=("figures.csv",),'
    study(more=more)
    path = tmp_path / "tiny_table.py"
    text = path.read_text().replace('name="small", recipe=taught', 'name="small", recipe=taught, published=Q')
    text = text.replace('"alone", method=Fragile.Config()', '"alone", method=Fragile.Config(), published=("student",)')
    quotes = "from raykd.recipe.study import Quotes\nQ = Quotes(dataset='few', teacher='r14', student='r8')\nteacher ="
    path.with_name("quoted.py").write_text(text.replace("teacher =", quotes))
    found = choose([str(path.with_name("quoted.py"))])[0].published
    assert [(q.row, q.column, q.value, q.deviation, q.n, q.reporter, q.epoch) for q in found] == [
        ("alone", "small", 0.6, None, None, "copied", ""),
        ("KD", "small", 0.705, 0.002, 5, "own", "last"),
    ]
    (tmp_path / "figures.csv").write_text(head.replace("kind", "sort"))
    with pytest.raises(UserError, match="figures.csv must have the columns .*no kind, unknown 'sort'"):
        choose([str(path.with_name("quoted.py"))])


def run(plan, **more):
    from raykd.launch.driver.display import Display

    text = io.StringIO()
    made = StudyRun(plan, Display(Console(file=text, width=300)), **more)
    return made, made.run(), text.getvalue()


def test_workers_count_as_placed_once_they_have_their_cpus(ray):
    """On Ray: two workers wait while one of the two CPUs is taken by another run of this driver."""
    from ray.util import placement_group, remove_placement_group

    taken, workers = placement_group([{"CPU": 1}]), None
    try:
        assert taken.wait(60)
        workers = placement_group([{"CPU": 1}, {"CPU": 1}])
        assert not workers.wait(1) and [len(group.bundles) for group in placed()] == [1]
        assert left_by_others()["CPU"] == 2 and not admission([replace(ONE, workers=2)])(ONE)
        remove_placement_group(taken)
        assert workers.wait(60) and [len(group.bundles) for group in placed()] == [2]
    finally:
        for group in filter(None, (taken, workers)):
            remove_placement_group(group)


FAILS = (
    ', Row(name="bad", method=Fragile.Config(bad="nan"), columns=("small",))'
    ', Row(name="gone", method=Fragile.Config(bad="killed"), columns=("small",))'
)


def test_a_study_continues_after_failures_and_repeats_only_missing_runs(ray, study, tmp_path):
    words = ["--epochs", "2", "--seeds", "0"]
    made, missing, text = run(study(*words, rows=FAILS))
    assert [line.split(":")[0] for line in missing] == ["bad, small, seed 0", "gone, small, seed 0"]
    assert "not finite" in missing[0] and "starts again" in text
    table = read_study(Folder(tmp_path / "runs/table"))
    assert [cell.status for cell in table.cells] == ["finished"] * 4 + ["failed"] * 2
    assert table.baseline == "alone" and table.rows == ["alone", "KD", "bad", "gone"]
    teachers = list((tmp_path / "runs/teachers").glob("*/result.json"))
    assert len(teachers) == 1  # shared by the two cells of KD
    for path in ("KD/small/0", "KD/larger/0"):
        assert json.loads((tmp_path / "runs/table" / path / "teachers.json").read_text()) == [str(teachers[0].parent)]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("result.json")}

    made, missing, text = run(study(*words, "--row", "bad", "--method.bad", ""))
    assert "6 runs of 6 cells, 4 finished" in text
    assert [line.split(":")[0] for line in missing] == ["gone, small, seed 0"]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    (report,) = make([str(tmp_path / "runs/table")]).tables
    assert set(report.cells) == {
        ("alone", "small"),
        ("alone", "larger"),
        ("KD", "small"),
        ("KD", "larger"),
        ("bad", "small"),
    }
    assert [(each.row, each.status) for each in report.missing] == [("gone", "failed")]

    with pytest.raises(UserError, match=r"alone, small, seed 0: .*another length: epochs \(2.0, here 3.0\)"):
        run(study("--epochs", "3", "--seeds", "0"))


CHAIN = """
large = replace(base, student=Network(name="resnet14"), epochs=0.2, workers=2)
teacher = replace(large, workers=1, epochs=2)
assistant = replace(large, method=KD.Config(), teachers=Teachers(sources=(Train(recipe=teacher),)))
taught = replace(base, epochs=0.2, teachers=Teachers(sources=(Train(recipe=assistant),)))
rates = [SGD(learning_rate=0.01 * i) for i in range(1, 41)]
study = Study(
    rows=(Row(name="alone", method=Fragile.Config()), Row(name="KD", method=KD.Config(), columns=("rate 1",))),
    columns=tuple(Column(name=f"rate {i}", recipe=replace(taught, optimizer=rate)) for i, rate in enumerate(rates, 1)),
    seeds=(0,),
)
"""


@pytest.mark.slow
def test_a_teacher_of_two_workers_starts_between_cells_of_one(ray, study, tmp_path):
    """It becomes ready while such cells occupy both CPUs; without a rule for it, it would start after the last one."""
    path = tiny_study.write(tmp_path, "tiny_table", tmp_path / "data")
    path.write_text(path.read_text() + CHAIN)
    made, missing, text = run(study())
    assert missing == []
    ends = [line.split(" s  ")[1].partition(" finished")[0] for line in text.splitlines() if " finished, top-1" in line]
    assert len(ends) == 43
    teacher, assistant = (i for i, name in enumerate(ends) if name.startswith("teachers/"))
    assert teacher < assistant < teacher + 15


TUNED = (
    ', Row(name="tuned", method=Fragile.Config(), columns=("small",), changes={"epochs": 1},'
    ' tune=Search(space={"optimizer.learning_rate": tune.grid_search([1e-6, 0.05])}))'
)


def test_a_dry_run_counts_the_trials_of_each_search(study, tmp_path):
    cells = study("--rows", "tuned", rows=TUNED).cells
    lines = before_cells(TeacherPlan(str(tmp_path / "runs")), runs_of(cells, (0, 1), "table"))
    assert list(lines) == ["search of tuned/small: 2 trials, not included in the estimate"]


@pytest.mark.slow
def test_a_tuned_row_uses_the_best_values_of_its_search(ray, study, tmp_path):
    made, missing, text = run(study("--seeds", "0", "1", "--rows", "tuned", rows=TUNED))
    assert missing == []
    best = json.loads((tmp_path / "runs/table/searches/tuned/small/search.json").read_text())["values"]
    recipes = [json.loads((tmp_path / f"runs/table/tuned/small/{seed}/recipe.json").read_text()) for seed in (0, 1)]
    assert [recipe["optimizer"]["learning_rate"] for recipe in recipes] == [best["optimizer.learning_rate"]] * 2
    assert [(recipe["seed"], recipe["data"]["validation"], recipe["search"]) for recipe in recipes] == [
        (0, 0.0, None),
        (1, 0.0, None),
    ]
    made, missing, text = run(study("--seeds", "0", "1", "--rows", "tuned"))
    assert missing == [] and "2 finished" in text and "trials" not in text


def test_a_study_is_submitted_with_its_options(study, tmp_path):
    from raykd.commands.submit import options

    study()
    path = str(tmp_path / "tiny_table.py")
    words = "--command study --address http://h:8265 --no-wait --seeds 3 4 --row KD --method.temperature 2"
    loaded, chosen = options([path, *words.split()])
    assert (chosen.command, chosen.address, chosen.wait) == ("study", "http://h:8265", False)
    assert loaded.path.name == "tiny_table.py" and chosen.name.endswith("/tiny_table")
    with pytest.raises(UserError, match="row alone, column small: .*temperature"):
        options([path, "--command=study", "--address", "http://h:8265", "--method.temperature", "2"])
    with pytest.raises(UserError, match="address: missing"):
        options([path, "--command", "study"])
