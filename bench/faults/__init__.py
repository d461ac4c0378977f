"""Faults on purpose: a device, a component and consumers under load, and what comes of it."""
