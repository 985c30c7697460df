"""Commands: the verbs of `dgss`, a file each.

A command reads options, calls the wings and prints. It holds no logic that a library user would
want; `cli` imports it when its verb is called.
"""
