"""What the service's own processes have in common; the published client leaves this folder out."""
