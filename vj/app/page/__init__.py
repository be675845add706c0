"""``vj-detect --page``: detection in a web browser, served from this machine."""
