"""The words of the product as plain values, and the decisions as functions from values to values.

Standard library only; no clock, no chance, no I/O: `now` and `jitter` are arguments.
"""
