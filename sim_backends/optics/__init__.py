"""The light path: modulator, fibre, receiver, and the noise of each."""
