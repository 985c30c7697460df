"""Client: a process that talks to the node: sessions, lifecycle, and the node as a child process.

Imports `node` for the transport settings that both sides share.
"""
