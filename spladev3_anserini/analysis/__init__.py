"""What runs are worth: measures."""
