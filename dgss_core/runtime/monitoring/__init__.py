"""Monitors of the images and masks of a drive, frame by frame; numpy and OpenCV only."""
