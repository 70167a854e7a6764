"""What was annotated, in the formats that other trainers read."""
