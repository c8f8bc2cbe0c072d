"""Names for shell completion, generated from the catalogue by `make names`."""

METHOD_NAMES = ()
