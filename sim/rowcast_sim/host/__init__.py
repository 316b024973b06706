"""The host's side of a device behind the bridge: frames, a link that repeats, the device, and it as a backend."""

from .device import Device, DeviceError
from .link import Link, LinkError

__all__ = ["Device", "DeviceError", "Link", "LinkError"]
