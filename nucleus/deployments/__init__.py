"""Deployments: what is asked for, what that comes to, and where it is kept."""
