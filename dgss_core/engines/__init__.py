"""Engines: networks compiled for one machine, kept in a cache, and proven right before use."""
