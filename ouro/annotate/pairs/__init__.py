"""The parts of eq. 5: parse replies to pairs, check pairs against the description, filter them."""
