"""From correlated data to transmittance and excess noise, with intervals."""
