"""What is answered, as JSON."""
