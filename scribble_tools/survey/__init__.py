"""What `inspect` does: what files are, what their labels look like, how to convert them."""
