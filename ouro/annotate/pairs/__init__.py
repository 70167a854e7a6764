"""Eq. 5 in its parts: replies to pairs, whether a description bears a pair out, which pairs stay."""
