"""Progress display of teachers that train in parallel."""

from rich.table import Table

from raykd.launch.trials.job_progress import JobsProgress
from raykd.launch.trials.progress import cpus_in_use


class TeacherProgress(JobsProgress):
    """One line for each teacher's start and end, and a live table of the running ones."""

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", title=cpus_in_use(), title_justify="left")
        for name in ("teacher", "state", "epoch", "top-1"):
            table.add_column(name)
        for name, state in self.queue.states.items():
            status = "trained by another process" if state.status == "elsewhere" else state.status
            shown = f"{status}: {state.reason}" if state.reason else status
            table.add_row(name, shown, f"{state.epoch:g}", "" if state.top1 is None else f"{100 * state.top1:.2f} %")
        return table
