"""Health: the statuses on `/diagnostics`, from counters and observations of the node.

It does not import the cameras or the pipeline; they fill in its counters. Imports `parameters`.
"""
