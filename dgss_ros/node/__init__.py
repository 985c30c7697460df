"""The parts of the node: cameras, mailbox, pipeline, outputs, services.

An image goes from a camera's mailbox slot through the pipeline to that camera's outputs. The
lifecycle that joins the parts is `dgss_ros.segment_node`. Imports `health` and `parameters`.
"""
