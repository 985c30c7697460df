"""Generated images: prompts, pictures made from them, and labels for the pictures.

The three steps before the self-training of CLOUDS (Benigmim et al., CVPR 2024, section 3). Each
writes files that can be inspected, and continues where it was interrupted.
"""
