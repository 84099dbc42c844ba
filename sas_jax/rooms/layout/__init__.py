"""Furnish rooms: `make_room(seed, config)` and the types it returns."""

from sas_jax.rooms.layout.config import RoomConfig
from sas_jax.rooms.layout.make import make_room
from sas_jax.rooms.layout.room import Light, PlacedObject, Room, RoomMesh

__all__ = ["Light", "PlacedObject", "Room", "RoomConfig", "RoomMesh", "make_room"]
