"""The microcontroller compiler: a quantized graph becomes C99 that needs nothing but this package's kernels.

Data flows one way: ``read_*`` (a file -> ``graph.Graph``) -> ``fuse`` -> ``operators`` (a node -> ``lowered.Lowered``)
-> ``arena`` (lifetimes -> places) -> ``emit`` (text).
"""
