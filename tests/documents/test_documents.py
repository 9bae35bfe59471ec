"""Every snippet and command of every document works unchanged, in a folder outside the checkout."""

import pkgutil
import re
from pathlib import Path

import pytest

from raykd.__main__ import COMMANDS
from tests.documents.blocks import ROOT, Block, blocks, documents
from tests.documents.conftest import run_steps
from tests.documents.steps import steps_of

BLOCKS = [block for path in documents() for block in blocks(path)]
RUN = [block for block in BLOCKS if any(True for _ in steps_of(block))]


@pytest.fixture(scope="session")
def results(reader: Path) -> dict[Block, list[tuple[dict, dict]]]:
    """Steps and their results, by block; README first, whose run the others read."""
    steps = [(block, step) for block in RUN for step in steps_of(block)]
    done = run_steps((step for _, step in steps), reader)
    assert len(done) == len(steps)
    found: dict[Block, list[tuple[dict, dict]]] = {}
    for (block, step), result in zip(steps, done):
        found.setdefault(block, []).append((step, result))
    return found


@pytest.mark.parametrize("block", RUN, ids=str)
def test_every_snippet_runs_unchanged(block: Block, results: dict[Block, list[tuple[dict, dict]]]):
    for step, result in results[block]:
        assert result["status"] == 0, f"{step}\n{result['output']}"


@pytest.mark.slow
def test_the_study_and_the_search_of_the_documents_train(reader: Path):
    """The same commands as above, with Ray, for a fraction of an epoch."""
    (study,) = [block for block in BLOCKS if block.language == "python" and "raykd study mine.py" in block.text]
    tiny = ["--epochs", "0.2", "--teachers.sources.0.recipe.epochs", "0.2"]
    words = ["study", "study_of_mine.py", "--seeds", "0", *tiny, "--name", "tiny"]
    steps = [
        {"kind": "python", "file": "study_of_mine.py", "text": study.text},
        {"kind": "command", "words": words},
        {"kind": "command", "words": ["report", "runs/tiny", "--out", "table.md"]},
        {"kind": "command", "words": ["tune", "digits/search", "--samples", "2", *tiny, "--name", "tiny-search"]},
    ]
    for step, result in zip(steps, run_steps(steps, reader), strict=True):
        assert result["status"] == 0, f"{step}\n{result['output']}"
    assert all(row in (reader / "table.md").read_text() for row in ("Supervised", "KD", "DKD"))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_names_its_language_and_every_command_exists(block: Block):
    assert block.language, f"{block}: name the language, or `text` for output"
    for command in re.findall(r"^(?:\$ )?raykd ([a-z]+)", block.text, re.MULTILINE):
        assert command in COMMANDS, f"{block}: no command {command!r}"


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub generates them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_has_a_target(path: Path):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{target} is missing"
        assert not anchor or anchor in anchors(there), f"{there} has no heading #{anchor}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_named_file_exists(path: Path):
    named = re.findall(r"`((?:tests|raykd|recipes|cluster|\.ci)/[\w./*-]+)`", path.read_text())
    assert not [name for name in named if not any(ROOT.glob(name))]


def test_functions_in_the_path_of_a_run_exist():
    text = (ROOT / "raykd/README.md").read_text()
    named = re.findall(r"`((?:recipe(?!\.json)|launch|training|commands|models)(?:\.\w+)+)`", text)
    assert len(named) > 8
    for name in named:
        assert pkgutil.resolve_name(f"raykd.{name}")
