"""Health: what `/diagnostics` says, from counters and observations that the node fills in.

It knows names, counts and times, but no camera and no pipeline. Imports `parameters`.
"""
