"""`edgexgb rollout`: from a bundle to an update that a core device on this machine has accepted."""
