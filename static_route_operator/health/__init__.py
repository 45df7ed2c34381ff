"""Whether gateways answer: probes, and what is concluded from them."""
