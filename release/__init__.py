"""From a bundle to a fleet: the gate, the emulator and the `edgexgb` command."""
