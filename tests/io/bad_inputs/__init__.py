"""The list of bad inputs, a module for each kind of file."""
