"""The subcommands of `stylealae`, a file for each part of its work."""
