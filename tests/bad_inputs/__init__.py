"""The eighty rows of bad inputs, as the command line meets them."""
