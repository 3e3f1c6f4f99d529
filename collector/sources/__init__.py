"""One file per road by which bytes arrive; I/O only."""
