"""OS trees: looking into them safely, and telling whether they are one."""
