"""A fleet on one machine: canaries first, and a bad model never gets to the others."""
