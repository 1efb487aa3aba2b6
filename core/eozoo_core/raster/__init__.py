"""Rasters in and maps out: reading, places on Earth, windows, streamed prediction, cloud-optimised GeoTIFFs."""
