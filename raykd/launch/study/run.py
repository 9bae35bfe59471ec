"""The driver of a study: parallel teachers and cells, searches of tuned rows, and the list of what is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.text import Text

from raykd import UserError
from raykd.data.storage.prepare import identity_of
from raykd.launch.cluster.connection import connected
from raykd.launch.cluster.signals import Interrupted
from raykd.launch.driver.display import Display
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.run_state.failure import RunFailed
from raykd.launch.search.search import search
from raykd.launch.study.plan import SEARCHES, CellRun, StudyPlan, finished, runs_of
from raykd.launch.study.progress import StudyProgress
from raykd.launch.study.record import Record
from raykd.launch.teachers.plan import TeacherPlan
from raykd.launch.trials.queue import Job, Queue
from raykd.launch.trials.side_by_side import run_jobs
from raykd.recipe.changes import change
from raykd.recipe.fingerprint import fingerprint
from raykd.runs import directory
from raykd.runs.changed import outdated
from raykd.storage.folder import Folder
from raykd.storage.lease import held


@dataclass
class StudyRun:
    """One start of a study: some of its cells, for some seeds; finished ones are skipped."""

    plan: StudyPlan
    display: Display
    finished: dict[str, float] = field(default_factory=dict)  # top-1 by run name

    def __post_init__(self) -> None:
        plan = self.plan
        self.runs = runs_of(plan.cells, plan.seeds, plan.name)
        self.folder = Folder(plan.storage) / plan.name
        self.record = Record(self.folder, plan.name, plan.loaded.study, plan.published)

    def run(self) -> list[str]:
        """Train what is missing; returns one line for each run that still is. Raises Interrupted after a signal."""
        with held(self.folder, self.display.console.print):
            self.finished = finished(self.runs, self.plan.storage)
            self.record.begin(self.runs)
            for run in self.runs:
                if run.name in self.finished:
                    self.record.note(run.path, "finished")
            self._print_start()
            self._note_outdated()
            try:
                with connected():
                    self._train()
            except Interrupted:
                self._stopped()
                raise
            finally:
                self.record.write()
        reasons = {run.label: self.record.cells[run.path].reason for run in self._left(self.runs)}
        return [f"{label}: {reason or 'it did not run'}" for label, reason in reasons.items()]

    def _train(self) -> None:
        """Train the cells without a search and all teachers; then run the searches; then train the tuned cells."""
        plain = [run for run in self.runs if run.cell.row.tune is None]
        tuned = [run for run in self.runs if run.cell.row.tune is not None]
        self._side_by_side(plain, also_teachers_of=tuned)
        self._side_by_side(self._searched(tuned))

    def _left(self, runs: Sequence[CellRun]) -> list[CellRun]:
        return [run for run in runs if run.name not in self.finished]

    def _side_by_side(self, runs: Sequence[CellRun], also_teachers_of: Sequence[CellRun] = ()) -> None:
        plan = TeacherPlan(self.plan.storage, group=f"{self.plan.name} teachers")
        cells = {run.cell.path: run.cell for run in self._left([*runs, *also_teachers_of])}
        teachers = {path: plan.add(cell.recipe) for path, cell in cells.items()}
        jobs = {
            run.name: Job(
                name=run.name,
                recipe=run.recipe,
                teachers=teachers[run.cell.path],
                group=self.plan.name,
                cell={"row": run.cell.row.name, "column": run.cell.column.name},
            )
            for run in self._left(runs)
        }
        if not plan.missing and not jobs:
            return
        queue = Queue(plan.missing | jobs, most=self.plan.max_parallel)
        progress = StudyProgress(queue, self.plan.storage, self.display.console, self.record, self.runs, self.finished)
        run_jobs(self.plan.loaded.of(self.plan.cells[0].recipe), progress, self.folder)

    def _searched(self, runs: Sequence[CellRun]) -> list[CellRun]:
        """Tuned runs with the values of their searches; a failed search fails its runs."""
        by_cell: dict[str, list[CellRun]] = {}
        for run in self._left(runs):
            by_cell.setdefault(run.cell.path, []).append(run)
        searched_runs: list[CellRun] = []
        for path, mine in by_cell.items():
            cell = mine[0].cell
            recipe = cell.seeded(self.plan.loaded.study.seeds[0])
            plan = RunPlan(
                loaded=self.plan.loaded.of(recipe),
                recipe=recipe,
                name=f"{self.plan.name}/{SEARCHES}/{path}",
                storage=self.plan.storage,
                display=self.display,
            )
            try:
                searched = search(plan)
                best = replace(cell, recipe=change(cell.recipe, searched.overrides))
                again = [replace(run, cell=best) for run in mine]
                for run in again:
                    if (Folder(self.plan.storage) / run.name).exists("recipe.json"):
                        directory.refuse_other(Folder(self.plan.storage) / run.name, run.recipe)
                searched_runs += again
            except (UserError, RunFailed) as error:
                for run in mine:
                    self.record.note(run.path, "failed", f"its search failed: {error}")
        return searched_runs

    def _print_start(self) -> None:
        count, finished = len(self.runs), len(self.finished)
        text = f": {count} runs of {len(self.plan.cells)} cells, {finished} finished"
        self.display.console.print(Text.assemble((self.plan.name, "bold"), text))

    def _note_outdated(self) -> None:
        """Say how many finished runs were trained with other code or data than the rest will be."""
        identities: dict[str, str] = {}  # reading one lists all files of the data
        counts: Counter[str] = Counter()
        for run in self.runs:
            if run.name not in self.finished or run.cell.row.tune is not None:  # whose values are not known yet
                continue
            recipe, folder, data = run.recipe, Folder(self.plan.storage) / run.name, repr(run.recipe.data)
            if data not in identities:
                identities[data] = identity_of(recipe.data)
            counts[outdated(folder, self.plan.loaded.of(recipe), recipe, fingerprint(recipe), identities[data])] += 1
        for what, count in counts.items():
            if what:
                self.display.note(
                    f"{what} changed since {count} finished runs were trained, which are kept (to train them again, "
                    "remove their directories, or give the study another --name)"
                )

    def _stopped(self) -> None:
        for run in self._left(self.runs):
            if self.record.cells[run.path].status == "running":
                self.record.note(run.path, "stopped")
        finished = f"{len(self.finished)} of {len(self.runs)} runs are finished"
        self.display.console.print(f"interrupted, {finished}; the same command continues from here")
