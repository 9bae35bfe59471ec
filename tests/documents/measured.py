"""Puts a study's first Markdown table into recipes/README.md.

raykd report runs/studies/digits --out digits.md
python -m tests.documents.measured digits.md
"""

import sys
from pathlib import Path

README = Path(__file__).parents[2] / "recipes/README.md"
START, END = "<!-- written by python -m tests.documents.measured -->\n", "<!-- end of the study's table -->\n"


def first_table(report: str) -> str:
    lines = report.splitlines(keepends=True)
    begin = next(i for i, line in enumerate(lines) if line.startswith("| "))
    end = next(i for i, line in enumerate(lines) if i > begin and not line.startswith("|"))
    return "".join(lines[begin:end])


if __name__ == "__main__":
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    table = first_table(Path(sys.argv[1]).read_text(encoding="utf-8"))
    README.write_text(f"{before}{START}{table}{END}{after}", encoding="utf-8")
