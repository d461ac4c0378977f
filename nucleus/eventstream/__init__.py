"""The event-stream wire format and its RPC protocol; no I/O in here."""
