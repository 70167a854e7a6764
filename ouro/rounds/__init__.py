"""Rounds of bootstrapping: the gate that a candidate passes or not, and what is kept of every round."""
