"""What a network graph is and what it means.

`ir` is the graph itself, `operators` what each operator computes (in NumPy, any rank) and which
shape comes out, `specialise` the graph for one set of input shapes: every shape known, everything
that can be computed beforehand computed.
"""
