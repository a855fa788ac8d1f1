"""Scorers that ask a model about any answer, for constrained JSON."""
