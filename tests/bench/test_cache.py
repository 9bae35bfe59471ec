"""The cache benchmark runs on a small case."""

from raykd.teachers.cache.formats import Full
from tests.bench import cache


def test_all_images_are_written_and_read():
    found = list(cache.rows(images=3000, formats={"float16": Full((cache.CLASSES,), "float16")}))
    assert [row["what"] for row in found] == ["write", "read", "read scattered"]
    assert [row["images"] for row in found] == [3000, 3000, 300]
    assert all(abs(row["GB"] - 3000 * 2008 / 1e9) < 1e-4 for row in found)
