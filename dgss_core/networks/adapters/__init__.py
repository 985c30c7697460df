"""Adapters: few trained weights inside a frozen encoder, and what is frozen."""
