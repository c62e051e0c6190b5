"""Objects of the simulation without the textures that a world would have."""

from __future__ import annotations


class AnyTexture(dict[str, int]):
    """An index of textures that has every name."""

    def __missing__(self, name: str) -> int:
        return self.setdefault(name, len(self))
