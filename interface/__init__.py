"""How components talk: pub/sub requests and replies."""
