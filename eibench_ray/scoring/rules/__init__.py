"""Scorers that ask nobody: each reads the answer by a rule and compares it with the sample's target."""
