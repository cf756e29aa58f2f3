"""Compose files as YAML, with the tags that only Compose defines."""

import yaml


class Merging(yaml.SafeLoader):  # type: ignore[misc] # yaml has no types
    """A loader that returns each member as Compose leaves it after the merge."""


Merging.add_constructor("!reset", lambda *_: None)
Merging.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, deep=True))
