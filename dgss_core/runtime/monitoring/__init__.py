"""What watches the images and the masks of a drive: numpy and OpenCV only, a frame at a time."""
