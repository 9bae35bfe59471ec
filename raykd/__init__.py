"""raykd: knowledge distillation of image classifiers on Ray."""

__version__ = "0.1.0"


class UserError(Exception):
    """The user's input is wrong: one line that says what and what to do; the command line ends with status 2."""
