"""Programs that others wrote, against the service: clients, gateways and linters. `make interop` installs them all."""
