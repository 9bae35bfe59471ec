"""One module a command of the command line; each has `run(arguments)`, given what follows the command's name."""
