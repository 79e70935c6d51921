"""Device kind ``labgrid:PLACE``: a board of a labgrid laboratory, which is taken for the job and given back."""

from edgegen.devices.labgrid.device import PlaceDevice, open_device, open_place

__all__ = ["PlaceDevice", "open_device", "open_place"]
