"""Measures this project beside the usual ways to serve the same models, all in one run."""
