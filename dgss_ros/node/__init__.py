"""The parts of the node: cameras, mailbox, pipeline, outputs, services.

An image goes from the mailbox slot of its camera through the pipeline to the outputs of that
camera. `dgss_ros.segment_node` connects the parts and holds the lifecycle. A size is
(width, height) in pixels. Imports `health` and `parameters`.
"""
