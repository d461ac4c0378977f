"""The IPC operations, one module for each family."""
