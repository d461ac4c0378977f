"""What runs in the account while the stack is deployed; needs what Lambda's Python brings."""
