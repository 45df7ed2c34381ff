"""Tests on real kubelets, with the image and the release manifest as users get them."""
