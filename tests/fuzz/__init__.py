"""Files of arbitrary bytes against every reader; `make fuzz` looks for new ones."""
