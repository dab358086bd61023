"""The kernel module chos.ko on this node: its files below /proc/chos, and the directory /chos that it moves people to.

`control` loads it and speaks to it, `root` makes /chos. docs/kmod.md says what the module is. Called by `node.hands`,
`backends.kmod` and `observe`.
"""
