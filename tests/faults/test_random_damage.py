"""Files of every kind with random damage: a short test, and one of minutes marked slow."""

import pytest

from tests.faults import fuzz


@pytest.mark.parametrize(("kind", "count"), [("recipes", 60), ("runs", 60)])
def test_damaged_files_are_read_or_rejected(tmp_path, kind, count):
    """For .beton files and sources see test_images.py and tests/data/test_damaged_sources.py."""
    attempt = fuzz.KINDS[kind](tmp_path)
    outcomes = [attempt(number) for number in range(count)]
    assert set(outcomes) == {"read", "refused"}, outcomes


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_damaged_files_are_read_or_rejected_for_minutes(kind):
    results, faults = fuzz.fuzz(kind, 300, first=100_000)
    assert not faults and results.total() > 0, faults


@pytest.mark.slow
def test_crashes_and_hangs_are_detected(monkeypatch):
    """Tests the fuzzer: a process that dies, one that hangs, and an error that is not raykd's."""
    monkeypatch.setattr(fuzz, "HANG", 5)
    results, faults = fuzz.fuzz("faulty", 40, first=0)
    said = " ".join(faults)
    assert "ended the process: -11" in said and "stands still" in said and "IndexError" in said
    assert results["read"] >= 1
