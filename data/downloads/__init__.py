"""Data sets that can be fetched: what is offered under which licence, the transfer, the unpacking, where it lies."""
