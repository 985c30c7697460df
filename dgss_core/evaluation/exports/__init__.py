"""What was evaluated, in the formats of three viewers: Rerun, FiftyOne and Foxglove.

`frames` reads images, masks and labels again; each of the others writes one format. Rerun is
imported only for its own.
"""
