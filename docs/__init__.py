"""The documentation site, and the files that are derived from the catalogue."""
