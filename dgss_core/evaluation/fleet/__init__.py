"""Many items of work on several processes, or on a cluster of Ray; none is lost with its worker.

`processes` runs them here, `on_ray` on a cluster; both yield the outcome of each item, in the
order in which they end. `worker` is what runs in a process. Ray is imported only for a cluster.
"""
