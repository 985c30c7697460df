"""Adapters: a few trained weights inside a frozen encoder; and freezing policies."""
