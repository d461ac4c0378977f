"""Who asks: a client for predictions over pub/sub, and a sample component."""
