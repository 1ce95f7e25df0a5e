"""The command line: one file per verb; builds configuration, composes rooms, maps errors to exit codes."""
