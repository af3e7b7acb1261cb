"""Drawing scribbles into dense labels."""
