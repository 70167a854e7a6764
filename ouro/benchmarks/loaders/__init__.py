"""Loaders of the benchmarks' own files, one module per family, and of their Hugging Face columns; see registry.py."""
