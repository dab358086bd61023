"""`chosctl install`: other programs are told to begin their sessions and jobs in the user's environment.

`model` says what a change is and what a product has to answer; `engine` makes changes, and takes them back; `lines`
edits texts; `files` and `record` are the only ones that write. Each product is a module of its own that reads and
plans. Called by `cli.integrate`.
"""
