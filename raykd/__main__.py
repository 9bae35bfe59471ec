"""The command line: the only reader of argv. Heavy modules are imported by the command that needs them."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence

from raykd import UserError, __version__, home
from raykd.output import complain, open_streams

COMMANDS = {
    "new": {"FILE.py --data DIR --student NETWORK": "write a recipe for your own folder of images"},
    "train": {
        "RECIPE [--field VALUE …]": "train a student, and first the teachers that don't exist yet; run again to resume"
    },
    "tune": {"RECIPE [--samples N]": "search for the best hyperparameters, or train an ensemble of teachers"},
    "study": {"FILE [--seeds 0 1 2] [--dry-run]": "train a table of runs: methods, settings, seeds"},
    "eval": {"RUN": "re-evaluate every network of a run"},
    "report": {"RUN… [--out FILE.html]": "compare runs: tables, curves, gains over the baseline"},
    "predict": {"RUN PATH… [--json]": "classify image files with a run's student"},
    "export": {
        "RUN --to FILE|DIR/": "write the student as .safetensors, .onnx, .int8.onnx, .pt2 or a folder",
        "RUN --measure": "measure latency, throughput, size and memory of the student and its teachers",
    },
    "submit": {"RECIPE --address URL": "train, tune or study on a cluster, as a Ray job"},
    "data": {
        "prepare RECIPE|SOURCE": "write a data set's files before training",
        "teach RECIPE": "fill the cache of teacher outputs before training",
        "clean [--keep-gb N]": "remove old caches",
    },
    "bench": {"RECIPE": "measure the parts of a training step on this machine and name the bottleneck"},
    "sync": {"RUN…": "upload runs that were logged offline to W&B"},
    "list": {"[methods|models|datasets|recipes|studies|runs [STORAGE]]": "list what is available"},
}

# Commands whose options depend on the recipe, with an example of each.
BY_RECIPE = {
    "train": "raykd train digits/kd",
    "tune": "raykd tune digits/search",
    "study": "raykd study studies/digits",
    "submit": "raykd submit digits/kd",
    "data": "raykd data prepare digits/kd",
    "bench": "raykd bench digits/kd",
    "list": "",
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
    if arguments[0] in BY_RECIPE and arguments[1:2] in (["-h"], ["--help"]):
        print(usage_of(arguments[0]))
        return 0
    return guarded(lambda: _command(arguments[0])(arguments[1:]))


def guarded(command: Callable[[], int | None]) -> int:
    """A command's exit status; errors that a user can fix are printed as one line."""
    try:
        return command() or 0
    except UserError as error:
        return _complain(error, 2)
    except KeyboardInterrupt as stop:
        from raykd.launch.cluster.signals import Interrupted

        return 128 + (stop.number if isinstance(stop, Interrupted) else signal.SIGINT)
    except OSError as error:
        if error.errno is None:  # of pyarrow's and other packages' file systems: the message says it all
            return _complain(str(error) or type(error).__name__, 2)
        if error.errno not in OUTSIDE:
            raise
        where = f": {str(error.filename)[:300]}" if error.filename else ""
        advice = "shorten it" if error.errno == errno.ENAMETOOLONG else "make room there, or choose another place"
        return _complain(f"{error.strerror}{where}; {advice}", 2)
    except RuntimeError as error:
        if type(error).__name__ != "RunFailed":
            raise
        return _complain(error, 1)


def _complain(error: Exception | str, status: int) -> int:
    complain(str(error))
    return status


def usage() -> str:
    lines = [f"raykd {__version__}: knowledge distillation of image classifiers on Ray", ""]
    for name in COMMANDS:
        lines += _forms(name)
    lines += ["", "raykd COMMAND --help shows its options, raykd train RECIPE --help every field of a recipe."]
    return "\n".join(lines)


def usage_of(name: str) -> str:
    """The usage of a command whose options depend on its recipe."""
    example = BY_RECIPE[name]
    more = ["", f"For all options, add --help to a complete command: {example} --help"] if example else []
    return "\n".join([*_forms(name), *more])


def _forms(name: str) -> list[str]:
    return [f"  raykd {name} {words}\n      {about}" for words, about in COMMANDS[name].items()]


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
    status = guarded(lambda: home.provide(lambda line: print(line, file=sys.stderr))) or main()
    sys.stdout.flush()
    sys.stderr.flush()
    # numba and FFCV leave finalizers that complain at exit; everything that matters is on disk by now.
    os._exit(status)


if __name__ == "__main__":
    console()
