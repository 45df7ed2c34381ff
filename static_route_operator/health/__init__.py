"""Health checks of gateways: probes, and the detectors that decide from them."""
