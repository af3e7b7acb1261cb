"""Writing so that nothing is lost: locks, folders and files that appear whole, overlaps."""
