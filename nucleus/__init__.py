"""A Greengrass core device in one process, for development and tests; never shipped."""
