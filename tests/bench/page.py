"""Group page: a report's page of a study of 1,020 runs: how long it takes to write, and until a browser has opened it.

The browser is Chromium without a window; its time ends when the layout of the whole page is computed. About 1 minute.
"""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.synthetic_runs import write_study

ROWS, COLUMNS, SEEDS = 20, 17, 3
TIMER = """<script>addEventListener("load", () => {
    document.body.getBoundingClientRect();  // computes the layout of the whole page
    document.title = performance.now();
});</script>"""


def rows(turns: int = 5) -> Iterator[dict]:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("group page needs chromium or google-chrome on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        study, page = Path(folder) / "study", Path(folder) / "report.html"
        study.mkdir()
        write_study(study, [f"method {i}" for i in range(ROWS)], [f"pair {i}" for i in range(COLUMNS)], SEEDS)
        began = time.perf_counter()
        command = [sys.executable, "-m", "raykd", "report", str(study), "--out", str(page)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield {"what": "raykd report", "value": time.perf_counter() - began, "unit": "s"}
        yield {"what": "the page", "value": page.stat().st_size / 1e6, "unit": "MB"}
        page.write_text(page.read_text() + TIMER)
        laid_out = [_laid_out(browser, page) for _ in range(turns)]
        yield {"what": f"opened by the browser, median of {turns}", "value": statistics.median(laid_out), "unit": "s"}


def _laid_out(browser: str, page: Path) -> float:
    """Seconds until the browser has read the page and computed its layout."""
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--timeout=60000", "--dump-dom"]
    done = subprocess.run([browser, *switches, page.as_uri()], capture_output=True, text=True, check=True)
    title = re.search(r"<title>([\d.]+)</title>", done.stdout)
    assert title, "the page did not load within 60 s"
    return float(title[1]) / 1000


if __name__ == "__main__":
    for row in rows():
        print(row)
