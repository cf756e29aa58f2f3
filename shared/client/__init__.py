"""What services use: the client and the parts it is made of."""
