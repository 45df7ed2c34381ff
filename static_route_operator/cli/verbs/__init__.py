"""The verbs, one module each, which holds its ``command``.

They import what they need when they run: the program must start at once, whatever else it can do.
"""
