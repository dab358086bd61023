"""OS trees: looks into them safely, and checks whether a directory is an OS tree."""
