"""Compose files as YAML, with the tags that only compose knows."""

import yaml


class Merging(yaml.SafeLoader):  # type: ignore[misc] # yaml has no types
    """Reads what compose does with a member as the member that it leaves there."""


Merging.add_constructor("!reset", lambda *_: None)
Merging.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, deep=True))
