"""Synthetic hearts with scribbles."""
