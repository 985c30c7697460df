"""Replay: bags played to live topics, and through a running node whose masks are recorded.

Imports `client` and `node`.
"""
