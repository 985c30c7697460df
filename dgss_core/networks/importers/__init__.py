"""Published checkpoints, renamed to our networks."""
