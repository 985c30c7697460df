"""The verbs of `dgss`, a file each."""
