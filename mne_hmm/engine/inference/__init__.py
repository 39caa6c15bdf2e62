"""Posteriors, paths and sums over chains, from densities of Gaussian states."""
