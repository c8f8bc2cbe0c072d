"""The command line: a command reads, calls and writes; no mathematics lives here."""
