"""metrics.jsonl: one line for each evaluation, written while a run trains."""

import json
from typing import Any

from raykd.storage.folder import Folder


def lines(run: Folder) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without a last one that a crash truncated."""
    if not run.exists("metrics.jsonl"):
        return []
    content = []
    for text in run.read("metrics.jsonl").decode(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            break
        content.append(line)
    return content


class MetricsLog:
    """metrics.jsonl: held in memory, written in the background; the next write repairs a failed one."""

    def __init__(self, run: Folder, step: int):
        """Lines after `step` are dropped, as they will be written again."""
        self.run = run
        self.lines = [line for line in lines(run) if line["step"] <= step]
        self._written, self._sound = 0, False  # the file holds exactly these lines

    def add(self, line: dict[str, Any]) -> None:
        self.lines.append(line)

    def flush(self) -> None:
        """Write pending lines; raises OSError."""
        lines = list(self.lines)
        if self._sound:
            self._sound = False
            for line in lines[self._written :]:
                self.run.append("metrics.jsonl", json.dumps(line))
        else:
            self.run.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        self._written, self._sound = len(lines), True
