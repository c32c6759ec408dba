"""Exit statuses of all commands; ``docs/commands.md`` has the table."""

DONE = 0
FAILED = 1
"""What was begun did not succeed, or what was asked for is not there."""
WRONG_OPTIONS = 2
"""Said in one sentence, before anything starts."""
NOTHING = 3
"""The run over given files ended as it should, but nothing was read, or all that was read are dead letters."""
INTERRUPTED = 130
"""By Ctrl-C: 128 and the number of SIGINT, as shells have it."""
