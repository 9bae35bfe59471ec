"""The command line: one module for each command, whose `run(arguments)` gets the arguments after the command's name.

Called by raykd.__main__ only. Commands parse arguments, call api or launch, and print; nothing else imports them.
"""
