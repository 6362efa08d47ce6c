"""What creates, destroys and lists domains: xl and embedded."""
