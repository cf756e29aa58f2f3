"""What an operator prepares for production: secrets, certificates, and the broker's users. Nothing of it ships."""
