"""Health of gateways: probes, and the detection of failures."""
