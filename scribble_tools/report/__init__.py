"""Data set, training and predictions in one HTML page."""
