"""Runs steps in this process, one after another, like a person at a terminal: JSON in, one JSON line per step out.

It is a separate process, because other tests load recipes with the same module names from other folders.
"""

import contextlib
import io
import json
import os
import runpy
import sys
import traceback
from pathlib import Path


def run(step: dict[str, str]) -> dict[str, str | int]:
    """Run one step; returns its status and its output to stdout and stderr together."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            status = _do(step)
        except SystemExit as end:
            status = int(end.code or 0)
        except Exception:  # noqa: BLE001  a step that fails is a result, and the next one is taken
            traceback.print_exc()
            status = -1
    return {"status": status, "output": out.getvalue()}


def _do(step: dict[str, str]) -> int:
    from raykd.__main__ import main

    if step["kind"] == "command":
        return main(step["words"])
    if step["kind"] == "export":
        os.environ[step["name"]] = os.path.expandvars(step["value"])
        return 0
    Path(step["file"]).write_text(step["text"])
    runpy.run_path(step["file"], run_name="__main__")
    return 0


if __name__ == "__main__":
    import raykd.commands.bench
    import raykd.recipes

    raykd.commands.bench.SECONDS = 0.05  # of measuring: the command is tested, not the machine
    raykd.recipes.__path__ = [os.path.abspath("recipes")]  # the reader's shortened ones
    sys.path.insert(0, os.getcwd())
    answers = sys.stdout
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)
    sys.stdout.flush()
    os._exit(0)  # as the command line does: numba's and FFCV's finalizers complain
