"""Eq. 4 in its parts: names and phrases, matching, joining, contradictions, redundancy, the budget."""
