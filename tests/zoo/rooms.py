"""The live hosts of the zoo."""

from tests.zoo import clusters, edges, meshes, oddities, providers, workers

ROOMS = (clusters, edges, meshes, oddities, providers, workers)
ANIMALS = [animal for room in ROOMS for animal in room.ANIMALS]
