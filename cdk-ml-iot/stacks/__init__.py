"""The stacks. They read files of the project, and import nothing of it."""
