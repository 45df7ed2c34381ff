"""The CustomResourceDefinitions, generated from the types and bounds of the parsers."""
