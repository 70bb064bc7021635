"""The command `influence`, one module for each group of subcommands."""
