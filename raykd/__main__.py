"""The command line: the only reader of argv. Heavy modules are imported by the command that needs them."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence

from raykd import UserError, __version__, home
from raykd.output import complain, open_streams

COMMANDS = {
    "new": "FILE.py --data DIR --student NETWORK [--teacher NETWORK] [--method kd]  write a recipe for your own images",
    "train": "RECIPE [--field VALUE …] [--name N] [--storage DIR]  train, missing teachers first, or go on",
    "tune": "RECIPE [--field VALUE …] [--name N] [--storage DIR] [--samples N]  search, or an ensemble",
    "study": "FILE [--seeds 0 1 2] [--rows …] [--columns …] [--dry-run] [--field VALUE …]  a table of runs",
    "eval": "RUN  evaluate every network of a finished run",
    "report": "RUN… [--baseline METHOD] [--out FILE.html] [--wandb]  the comparison: tables, curves, gains",
    "sync": "RUN…  upload runs that were tracked offline to W&B",
    "bench": "RECIPE [--field VALUE …]  what a step costs here, part by part, what bounds it and what to change",
    "predict": "RUN PATH… [--top N] [--json]  what a run's deployed network says of image files",
    "export": "RUN [--to FILE|DIR/] [--measure]  the deployed network: .safetensors, .onnx, .int8.onnx, .pt2, DIR/",
    "submit": "RECIPE --address URL [--no-wait] [--command tune|study] [--field VALUE …]  as a Ray job",
    "data": "prepare RECIPE|SOURCE [--to DIR] [--download] [--skip-corrupt]  write .beton files; or "
    "teach RECIPE [--field VALUE …]  fill the cache of its teachers; or clean [--keep-gb N]  remove old caches",
    "list": "[methods|models|datasets|recipes|studies|runs [STORAGE]]  what there is, a line each",
}

# What a file operation fails with because of the machine and not because of raykd.
OUTSIDE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 the run failed, 2 the input is wrong."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"raykd {__version__}")
        return 0
    return guarded(lambda: _command(arguments[0])(arguments[1:]))


def guarded(command: Callable[[], int | None]) -> int:
    """A command's exit status, with errors that a user can mend as one line."""
    try:
        return command() or 0
    except UserError as error:
        return _complain(error, 2)
    except KeyboardInterrupt as stop:
        from raykd.launch.cluster.signals import Interrupted

        return 128 + (stop.number if isinstance(stop, Interrupted) else signal.SIGINT)
    except OSError as error:
        if error.errno not in OUTSIDE:
            raise
        where = f": {error.filename}" if error.filename else ""
        return _complain(f"{error.strerror}{where}; make room there, or choose another place", 2)
    except RuntimeError as error:
        if type(error).__name__ != "RunFailed":
            raise
        return _complain(error, 1)


def _complain(error: Exception | str, status: int) -> int:
    complain(str(error))
    return status


def usage() -> str:
    lines = [f"raykd {__version__}: knowledge distillation of image classifiers on Ray", ""]
    lines += [f"  raykd {name} {about}" for name, about in COMMANDS.items()]
    lines += ["", "raykd train RECIPE --help shows every field of a recipe."]
    return "\n".join(lines)


def _command(name: str) -> Callable[[Sequence[str]], int | None]:
    import difflib
    import importlib

    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(COMMANDS)}"
        raise UserError(f"no command {name!r}{hint}")
    return importlib.import_module(f"raykd.commands.{name}").run


def console() -> None:
    """The `raykd` command."""
    open_streams()
    home.provide(lambda line: print(line, file=sys.stderr))
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # numba and FFCV leave finalizers that complain at exit; everything that matters is on disk by now.
    os._exit(status)


if __name__ == "__main__":
    console()
