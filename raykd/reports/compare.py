"""Groups runs into rows: finished runs of one recipe with different seeds, each seed once."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from raykd import UserError
from raykd.reports.collect import RunRecord
from raykd.reports.settings import differing, settings, shown, without_seeds

# What a baseline must share with a row, so that their difference is due to the method.
SHARED = re.compile(r"student\.|data\.(source\.|image_size$|validation$)|epochs$")
MOST_FIELDS = 3  # shown in a label


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """A run that is skipped because another one has the same recipe and seed."""

    run: RunRecord
    original: RunRecord

    @property
    def is_copy(self) -> bool:
        """Whether it has the same results: a copy, or a repetition of the training."""
        return self.run.evaluations == self.original.evaluations


@dataclass(frozen=True, kw_only=True)
class Row:
    """Finished runs that differ only in their seed."""

    section: str  # rows of one section are shown in one table: one student on one split of one data set
    method: str
    variant: str  # the settings that distinguish it from the method's other rows, "" if there are none
    runs: tuple[RunRecord, ...]  # one for each seed
    repeats: tuple[Repeat, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.method} ({self.variant})" if self.variant else self.method

    @property
    def name(self) -> str:
        """The common part of the runs' names."""
        return stem(self.runs[0])

    @property
    def split(self) -> str:
        return self.runs[0].split


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The row that gains are relative to, or the reason why there is none."""

    row: Row | None
    reason: str = ""


def compare_rows(records: Iterable[RunRecord]) -> list[Row]:
    """Rows of the finished runs, by data set, student, split and method."""
    groups: dict[tuple[str, str], dict[frozenset, list[RunRecord]]] = {}
    for title, of_section in sections(record for record in records if record.status == "finished").items():
        for record in of_section:
            group = groups.setdefault((title, record.labels.method), {})
            group.setdefault(frozenset(without_seeds(record.settings).items()), []).append(record)
    return [row for key in sorted(groups) for row in _rows(*key, list(groups[key].values()))]


def sections(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs by the titles of their tables; apart if their splits have other images, as of a folder that has changed.

    Runs without a record of their images count as of the most frequent split.
    """
    by_title: dict[str, list[RunRecord]] = {}
    for record in records:
        by_title.setdefault(section(record), []).append(record)
    titled: dict[str, list[RunRecord]] = {}
    for title, runs in by_title.items():
        splits = [split for split, _ in Counter(filter(None, map(images_of, runs))).most_common()]
        for run in runs:
            number = splits.index(images_of(run) or splits[0]) if splits else 0
            titled.setdefault(title + (_apart(splits, number) if len(splits) > 1 else ""), []).append(run)
    return titled


def _apart(splits: list[tuple[int, ...]], number: int) -> str:
    """What distinguishes one of several splits, as a part of a title."""
    return f" (images {number + 1} of {len(splits)}: {sum(splits[number]):,} of {len(splits[number])} classes)"


def images_of(record: RunRecord) -> tuple[int, ...]:
    """The number of images of each class of the run's evaluation split; empty if the run has no such record."""
    networks = record.evaluation.networks.values() if record.evaluation else ()
    return next((tuple(network.per_class_count) for network in networks), ())


def section(record: RunRecord) -> str:
    """The title of a run's table."""
    split = "" if record.split == "test" else f" ({record.split} split)"
    return f"{record.labels.data}: {record.labels.student}{split}"


def _rows(section: str, method: str, groups: list[list[RunRecord]]) -> list[Row]:
    names = variants([group[0] for group in groups])
    return [new_row(section, method, variant, group) for group, variant in zip(groups, names, strict=True)]


def new_row(section: str, method: str, variant: str, runs: list[RunRecord]) -> Row:
    distinct, repeats = each_seed_once(runs)
    return Row(section=section, method=method, variant=variant, runs=distinct, repeats=repeats)


def each_seed_once(group: list[RunRecord]) -> tuple[tuple[RunRecord, ...], tuple[Repeat, ...]]:
    """Runs of one row by seed, and repetitions of them, which would inflate n."""
    first_of: dict[frozenset, RunRecord] = {}
    repeats = []
    for run in sorted(group, key=lambda run: (run.labels.seed, run.name)):
        first = first_of.setdefault(frozenset({**run.settings, "seed": run.labels.seed}.items()), run)
        if first is not run:
            repeats.append(Repeat(run=run, original=first))
    return tuple(first_of.values()), tuple(repeats)


def stem(record: RunRecord) -> str:
    """A run's name without its seed: kd-seed3, kd-s3, kd_3 and kd/3 of seed 3 are all kd."""
    seed = re.escape(str(record.labels.seed))
    return re.sub(rf"[-_./ ]?(?:seed|s)?[-_=]?{seed}$", "", record.name) or record.name


def variants(runs: list[RunRecord]) -> list[str]:
    """For each run the settings that differ from the others', e.g. "temperature 2"; "" for a single one."""
    fields = [without_seeds(run.settings) for run in runs]
    names = list(dict.fromkeys(name for other in fields[1:] for name in differing(fields[0], other)))
    short = {name: _short(name, names) for name in names}
    texts = []
    for run in runs:
        parts = [f"{short[name]} {shown(run.recipe, name)}" for name in names[:MOST_FIELDS]]
        texts.append(", ".join(parts + ["…"] * (len(names) > MOST_FIELDS)))
    return _unique(texts, [stem(run) for run in runs])


def _short(name: str, names: list[str]) -> str:
    """The shortest unique and informative end of a dotted name."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        end = ".".join(parts[-length:])
        vague = parts[-length].isdigit() or end in ("class", "name", "path", "weights", "final")
        if not vague and not any(other != name and f".{other}".endswith(f".{end}") for other in names):
            return end
    return name


def _unique(texts: list[str], names: list[str]) -> list[str]:
    """Prefix texts that occur twice with the run's name; those that still do are numbered."""
    named = [f"{name}: {text}" if texts.count(text) > 1 else text for text, name in zip(texts, names, strict=True)]
    return [f"{text} #{named[:i].count(text) + 1}" if named.count(text) > 1 else text for i, text in enumerate(named)]


def find_baseline(rows: list[Row], row: Row, name: str) -> Baseline:
    """The baseline of a row in the same section: same student, data and length."""
    asked, name = name, name.casefold()
    named = [r for r in rows if name in (r.label.casefold(), r.name.casefold())]
    named = named or [r for r in rows if r.method.casefold() == name]
    if row in named:
        return Baseline(row=None)
    against = {id(r): obstacles(r.runs[0].recipe, row.runs[0].recipe) for r in named}
    fitting = [r for r in named if not against[id(r)]]
    if len(fitting) == 1:
        return Baseline(row=fitting[0])
    if fitting:
        return Baseline(row=None, reason=f"several baselines: use --baseline {' or '.join(r.name for r in fitting)}")
    if named:
        return Baseline(row=None, reason=f"{named[0].label} differs in {', '.join(against[id(named[0])])}")
    return Baseline(row=None, reason=f"no finished run of {asked} with this student and data")


def obstacles(baseline: dict[str, Any], recipe: dict[str, Any]) -> list[str]:
    """Differences of two recipes besides the method, as "epochs (12, here 30)"."""
    names = [name for name in differing(settings(baseline), settings(recipe)) if SHARED.match(name)]
    return [f"{name} ({shown(baseline, name)}, here {shown(recipe, name)})" for name in names]


def check_baseline(rows: list[Row], baseline: str) -> None:
    """Raise UserError if no row has the name given by --baseline."""
    if not any(baseline.casefold() in (name.casefold() for name in (row.method, row.label, row.name)) for row in rows):
        known = ", ".join(sorted({name for row in rows for name in (row.method, row.name)}))
        raise UserError(f"no finished run of the baseline {baseline!r}: --baseline must be one of {known}")
