"""The command line: an application of subcommands, launching on Ray, and the console."""
