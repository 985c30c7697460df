"""Replay: plays bags to live topics, and through a running node to record its masks.

Imports `client` and `node`.
"""
