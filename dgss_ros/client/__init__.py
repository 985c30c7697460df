"""Client side of the node: sessions, lifecycle calls, and the node as a child process.

Imports `node` for the transport settings of both sides.
"""
