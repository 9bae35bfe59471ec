"""One module for each command; each has `run(arguments)`, which gets the arguments after the command's name."""
