"""Metric kernels, one file a family: pure functions, unrounded, typed, without any model or file."""
