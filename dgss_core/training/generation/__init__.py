"""Images that nobody took: prompts, pictures of them, and labels for the pictures.

The three steps before the self-training of CLOUDS (Benigmim et al., CVPR 2024, section 3). Each
writes files that can be looked at, and goes on where it was interrupted.
"""
