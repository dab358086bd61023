"""What the kernel offers and Python does not, and what is where on this node.

System calls, the mount table, files of /proc, paths, the places of installed files. Nothing is decided here.
"""
