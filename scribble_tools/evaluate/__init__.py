"""Scores of predictions against dense labels, with their statistics, alone or compared."""
