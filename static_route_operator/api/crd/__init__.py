"""The CustomResourceDefinitions, made from code."""
