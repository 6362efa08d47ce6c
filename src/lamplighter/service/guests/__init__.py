"""What is heard from guests and said to them."""
