"""Free English prose as things and relations, and what is told of an image as evidence for statements about it."""
