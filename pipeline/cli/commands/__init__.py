"""The subcommands, a module each for those that belong together; none imports another."""
