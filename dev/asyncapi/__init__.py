"""The AsyncAPI document of the service and the page that shows it, both made of the contracts: `make asyncapi`."""
